# SPDX-License-Identifier: BSD-3-Clause
# A short way to what meson and the scripts do. BUILD: the build folder. KILLS, PIECES: for killings (tests/killings has their names). ROUNDS: for migrate. SECONDS, SEED: for soak. HOURS: for fuzz. DESTDIR, PREFIX: for install.
BUILD ?= build
PREFIX ?= /usr/local
KILLS ?= 100
ROUNDS ?= 20
HOURS ?= 8
SCREENS ?= $(BUILD)/screens

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## install what is missing, build, and let two virtual machines talk through the switch (KEEP=1: until Ctrl-C, to watch the page)
	@scripts/install-deps build demo
	@$(MAKE) --no-print-directory compile
	@VIREO_BUILD='$(BUILD)' VIREO_DEMO_KEEP='$(KEEP)' demo/run

demo-disk: ## install what is missing, build, and boot a virtual machine from a disk whose daemon is killed meanwhile
	@scripts/install-deps build demo
	@$(MAKE) --no-print-directory compile
	@VIREO_BUILD='$(BUILD)' demo/disk

demo-evpn: ## install what is missing, build, and let a virtual machine move between two hosts that FRR's EVPN joins (as root)
	@scripts/install-deps build evpn
	@$(MAKE) --no-print-directory compile
	@VIREO_BUILD='$(BUILD)' demo/evpn

check: ## install what is missing, build, and pass all tests
	@scripts/install-deps build demo check
	@scripts/check

tidy: ## clang-tidy on all files, with clang's analyzer as deep as it goes: a quarter of an hour
	@scripts/install-deps build demo check
	@TIDY_NODES=225000 scripts/check clang-tidy

figures: build ## start-up time, memory, idle CPU and latency of the switch, measured here
	@VIREO_BUILD='$(abspath $(BUILD))' bench/figures

cycles: build ## cycles a frame with a second worker, and beside 254 silent ports; idle CPU with 256 (ROWS: some only)
	@VIREO_BUILD='$(abspath $(BUILD))' bench/cycles $(ROWS)

neighbours: build ## what a hostile port costs the others, lie by lie, measured here (ROWS: some only)
	@VIREO_BUILD='$(abspath $(BUILD))' bench/neighbours $(ROWS)

page: build ## the live page in a headless browser, with screenshots in SCREENS (build/screens); promtool on metrics and alert rules; the dashboard asked of a Prometheus
	@scripts/install-deps build page
	@VIREO_BUILD='$(abspath $(BUILD))' VIREO_SCREENS='$(abspath $(SCREENS))' tests/e2e/page.py
	@VIREO_BUILD='$(abspath $(BUILD))' tests/e2e/serve.py promtool
	@VIREO_BUILD='$(abspath $(BUILD))' tests/e2e/dashboard.py

dashboard: build ## the dashboard for Grafana, drawn by Grafana's own components (npm has them) over a Prometheus, in a headless browser: screenshots in SCREENS (build/screens)
	@scripts/install-deps build page
	@tests/dashboard/build '$(abspath $(BUILD))/dashboard'
	@VIREO_BUILD='$(abspath $(BUILD))' VIREO_SCREENS='$(abspath $(SCREENS))' VIREO_DRAWN='$(abspath $(BUILD))/dashboard/page' tests/e2e/dashboard.py grafana_s

properties: build ## each property of QEMU's virtio-net-pci changed alone: does the guest have a network
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' VIREO_PROPERTIES=all tests/e2e/properties.py

comeback: build ## kill the switch and take its ports away, 25 times each, under QEMU guests: it listens or connects, split rings or packed ones
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' COMEBACK_ROUNDS=25 tests/e2e/comeback.py traffic_comes_back

killings: build ## kill devices and vireo-blkd KILLS (100) times each: a driver's ledger, fio that verifies over vhost-user and VDUSE, split and packed, and power cuts (PIECES: some only)
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' tests/killings $(KILLS) $(PIECES)

# The shell that runs make may have a SECONDS of its own: only that of the command line counts.
soak: build ## honest and hostile peers, kills and moves mixed at random for SECONDS (600): nothing may be lost, or leak (SEED: the same dice again)
	@VIREO_BUILD='$(abspath $(BUILD))' tests/soak/run --seconds '$(if $(filter command line,$(origin SECONDS)),$(SECONDS),600)' $(if $(SEED),--seed '$(SEED)')

beside: build ## what an honest pair at full speed loses, in frames and in speed, while all lies are told beside it
	@VIREO_BUILD='$(abspath $(BUILD))' tests/soak/run --beside --seconds 60 $(if $(SEED),--seed '$(SEED)')

disks: build ## fio that verifies, discards, ext4 and XFS on disks of each ring format, one queue and four, in a QEMU guest
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' DISKS_WHOLE=1 tests/lab/disks.py

blkio: build ## libblkio's driver, fetched from Debian 13, on disks of ours
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' VIREO_BLKIO=1 tests/e2e/blkio.py

rbd: ## images of a Ceph cluster, which is made on this machine, of one monitor and one storage server in memory
	@scripts/install-deps build check rbd
	@$(MAKE) --no-print-directory compile
	@# A folder that was set up before librbd was there remembers that it was not.
	@test -x '$(BUILD)/disk/disk_rbd_test' || { meson setup --wipe '$(BUILD)' && meson compile -C '$(BUILD)'; }
	@VIREO_BUILD='$(abspath $(BUILD))' tests/e2e/rbd.py

blktests: build ## blktests' block group on our disk and on qemu-storage-daemon's, in a QEMU guest (BLKTESTS: its folder, built)
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' tests/lab/blktests '$(BLKTESTS)'

libiscsi: build ## each family of libiscsi's test suite on a LUN, in a User-mode Linux
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' LIBISCSI=all tests/e2e/uml.py libiscsi

prove: ## what CBMC, fetched from Debian 13, proves of parsers, translation and rings; and checks of bounds taken out, each missed
	@scripts/prove

coverage: ## which lines of lib/wire, ring, mem, device and transport tests, lies, fuzzers and the lab reach (WHAT: units, hostile, fuzz, e2e, lab; some only)
	@scripts/install-deps build check
	@scripts/coverage $(WHAT)

fuzz: ## all fuzzers for HOURS (8), with a corpus that is kept
	@scripts/install-deps build check
	@scripts/fuzz $(HOURS)

migrate: build ## move a QEMU guest between two switches, ROUNDS (20) times each by precopy and postcopy, with split and packed rings
	@scripts/install-deps check
	@VIREO_BUILD='$(abspath $(BUILD))' MIGRATE_ROUNDS='$(ROUNDS)' MIGRATE_BACK_S=1 tests/e2e/migrate.py
	@VIREO_BUILD='$(abspath $(BUILD))' POSTCOPY_ROUNDS='$(ROUNDS)' POSTCOPY_ALL=1 POSTCOPY_BACK_S=1 tests/e2e/postcopy.py
	@VIREO_BUILD='$(abspath $(BUILD))' MIGRATE_DISK=1 tests/e2e/migrate_disk.py

matrix: ## build and run the unit tests on other systems, C libraries and compilers; as root (ROWS: some only)
	@command -v debootstrap >/dev/null || { apt-get update -q=2 && apt-get install -y -q=1 --no-install-recommends debootstrap; }
	@scripts/build-matrix $(ROWS)

bench: ## install the peers (DPDK, Open vSwitch), build, and measure ours beside them (CASES: some only)
	@scripts/install-deps build bench
	@$(MAKE) --no-print-directory compile
	@# A folder that was set up before DPDK was there does not know it yet.
	@test -x '$(BUILD)/bench/bench-vhost' || { meson setup --reconfigure '$(BUILD)' && meson compile -C '$(BUILD)'; }
	@VIREO_BUILD='$(abspath $(BUILD))' bench/compare $(CASES)

build: ## install what is missing, and build
	@scripts/install-deps build
	@$(MAKE) --no-print-directory compile

compile:
	@test -f '$(BUILD)/build.ninja' || meson setup --prefix '$(PREFIX)' '$(BUILD)'
	@meson compile -C '$(BUILD)'

install: ## install what has been built (DESTDIR, PREFIX)
	meson install -C '$(BUILD)' --no-rebuild

deb: ## Debian packages in build-deb/: the programs with their service, the libraries, and what compiles against them
	@scripts/install-deps build deb
	@scripts/build-deb

deb-check: deb ## install, upgrade and purge the package vireo in a Debian folder that runs systemd, with QEMU guests attached; as root
	@scripts/install-deps demo
	@command -v debootstrap >/dev/null || apt-get install -y -q=1 --no-install-recommends debootstrap
	@tests/deb/packages.py

clean: ## remove what building made
	rm -rf '$(BUILD)' build-check build-coverage build-deb

.PHONY: help demo demo-disk check tidy figures cycles neighbours page dashboard properties comeback killings soak beside disks blkio rbd blktests libiscsi prove coverage fuzz migrate matrix bench build compile install deb deb-check clean
