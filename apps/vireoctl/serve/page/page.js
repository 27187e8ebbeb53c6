// SPDX-License-Identifier: BSD-3-Clause
// The live page: asks for /state.json each second, and shows what has changed since. All that a daemon has said becomes text, never markup.
"use strict";

const EVERY_MS = 1000, KEPT = 60, PORTS_SHOWN = 20, DROPS_SHOWN = 14;
const $ = id => document.getElementById(id);

// Counters of a port and of its queues that are no drops.
const NO_DROPS = new Set(["rx_frames", "rx_bytes", "tx_frames", "tx_bytes", "rx_flooded", "rx_reflected", "rx_merged", "rx_paced", "rx_membership", "rx_membership_full", "rx_lacp", "rx_lacp_bad",
	"tx_segmented", "tx_held", "tx_class1", "tx_class2", "tx_class3", "kicks", "signals", "frames", "bytes", "queue"]);
const REASONS = {
	rx_reserved: "to an address that no bridge forwards", rx_hairpin: "the destination is behind the sender itself",
	rx_bad_source: "the source address is a group or zero", rx_vlan: "in a VLAN that the port is not in", rx_isolated: "both ports are isolated",
	rx_spoofed: "the source address is another port's", rx_segment_limit: "too many segments to cut in one burst",
	rx_flood_limit: "more frames to all than flood-max", rx_no_destination: "there is no other port", rx_link_down: "the link is down",
	rx_rate_limit: "more than rate-in or frames-in", rx_no_member: "nobody has joined the group", tx_rate_limit: "more than rate-out or frames-out",
	tx_no_queue: "no queue of the receiver runs", tx_link_down: "the receiver's link is down", tx_flood_room: "the last buffers are kept for what is sent to it alone",
	tx_mtu: "longer than the receiver's MTU", tx_segment_error: "could not be cut into segments", tx_less_urgent: "more urgent frames had the buffers",
	no_buffer: "the guest had no buffers ready", too_long: "longer than the guest's buffers", runt: "shorter than an Ethernet header",
	disabled: "the queue was disabled", error: "guest memory could not be reached", bad_offload: "the guest's header lies",
	offload_refused: "the guest does not take such frames", filtered: "the guest's filter does not let it in",
	rx_storm_broadcast: "more than storm-broadcast", rx_storm_multicast: "more than storm-multicast", rx_storm_unicast: "more than storm-unicast",
};

// ---- small words ----

function element(tag, attributes, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes || {}))
		made.setAttribute(name, value);
	made.append(...children);
	return made;
}

function drawn(tag, attributes, ...children) {
	const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(attributes))
		made.setAttribute(name, value);
	made.append(...children);
	return made;
}

function si(value, unit, step = 1000) {
	const prefixes = ["", "k", "M", "G", "T"];
	let at = 0;
	for (; value >= step && at < prefixes.length - 1; at++)
		value /= step;
	const shown = at === 0 ? Math.round(value) : value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
	return [String(shown), prefixes[at] + (step === 1024 && at ? "i" : "") + unit];
}
const said = parts => parts[1] ? parts.join(" ") : parts[0];
const whole = value => Number(value || 0).toLocaleString("en");
const list = value => Array.isArray(value) ? value : [];
const number = value => typeof value === "number" ? value : 0;

function seconds(ns) {
	return ns >= 1e9 ? (ns / 1e9).toFixed(2) + " s" : ns >= 1e6 ? (ns / 1e6).toFixed(2) + " ms" : ns >= 1e3 ? (ns / 1e3).toFixed(1) + " µs" : ns + " ns";
}

// ---- what was before ----

let before = null, now = null, paused = false;
const history = new Map(), seen = new Set(); // a name: the last rates; the names of this second

function remember(name, value) {
	const values = history.get(name) || [];
	seen.add(name);
	if (!before)
		return values; // there is no rate yet
	values.push(value);
	if (values.length > KEPT)
		values.shift();
	history.set(name, values);
	return values;
}

// What has gone leaves nothing in a page that stays open.
function forget_unseen() {
	for (const name of history.keys())
		if (!seen.has(name))
			history.delete(name);
	seen.clear();
}

const elapsed = () => before ? (now.stats.time_us - before.stats.time_us) / 1e6 : 0;
const by_name = new WeakMap(); // a list of an answer's: its objects by name

function named(objects, name) {
	if (!Array.isArray(objects))
		return undefined;
	if (!by_name.has(objects))
		by_name.set(objects, new Map(objects.map(object => [object.name, object])));
	return by_name.get(objects).get(name);
}

// A second; null: there is no rate yet.
function rate(value, old) {
	const s = elapsed();
	return s > 0 && typeof old === "number" && value >= old ? (value - old) / s : null;
}

// ---- tables ----

function cell(value, kind = "") {
	const td = element("td", kind ? {class: kind} : {});
	td.append(value);
	if (value === "0" || value === "–")
		td.classList.add("zero");
	return td;
}

const rated = (value, unit) => cell(value === null ? "–" : said(si(value, unit)));
const fault = (value, shown) => cell(shown, value > 0 ? "bad" : "");

// `headings`: rows of [text, class, columns].
function table(id, headings, rows) {
	const target = $(id).querySelector("table");
	const head = element("thead", {}, ...headings.map(row => element("tr", {}, ...row.map(([text, kind, columns]) =>
		element("th", {class: kind || "", colspan: columns || 1, scope: columns ? "colgroup" : "col"}, text)))));
	target.replaceChildren(head, element("tbody", {}, ...rows.map(cells => element("tr", {}, ...cells))));
	$(id).hidden = false;
}

function name(text) {
	const td = cell(text, "left name");
	td.title = text;
	return td;
}

function state(object) {
	const shown = object.link === "down" ? "link down" : String(object.state);
	const kind = ["connected", "up"].includes(shown) ? "good" : ["failed", "link down"].includes(shown) ? "bad" : "";
	return cell(element("span", {class: "state " + kind}, shown), "left");
}

function spark(values, second) {
	const most = Math.max(1, ...values), step = 100 / (KEPT - 1), first = KEPT - values.length;
	const points = values.map((value, i) => `${((first + i) * step).toFixed(1)},${(29 - 26 * value / most).toFixed(1)}`);
	const picture = drawn("svg", {viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true"});
	if (points.length > 1) {
		picture.append(drawn("polygon", {class: "spark-area", points: `${(first * step).toFixed(1)},30 ${points.join(" ")} 100,30`}));
		picture.append(drawn("polyline", {class: second ? "spark second" : "spark", points: points.join(" ")}));
	}
	return picture;
}

// ---- in all ----

function tile(title, parts, values, bad) {
	return element("div", {class: bad ? "tile bad" : "tile"}, element("div", {class: "name"}, title),
		element("div", {class: "value"}, parts[0], element("small", {}, parts[1] ? " " + parts[1] : "")), values ? spark(values) : "");
}

function sum(objects, olds, key) {
	return list(objects).reduce((all, object) => all + (rate(number(object[key]), (named(olds, object.name) || {})[key]) || 0), 0);
}

function network_tiles(stats, old) {
	const frames = sum(stats.ports, old.ports, "rx_frames"), bits = 8 * sum(stats.ports, old.ports, "rx_bytes");
	const drops = sum(stats.ports, old.ports, "rx_drops") + sum(stats.ports, old.ports, "tx_drops");
	const up = stats.ports.filter(port => ["connected", "up"].includes(port.state) && port.link !== "down").length;
	return [
		tile("Ports that are up", [String(up), "of " + stats.ports.length], remember("all ports", up)),
		tile("Frames", si(frames, "/s"), remember("all frames", frames)),
		tile("Traffic", si(bits, "bit/s"), remember("all bits", bits)),
		tile("Drops", si(drops, "/s"), remember("all drops", drops), drops > 0),
		tile("Addresses known", [whole(stats.fdb.entries), "of " + whole(stats.fdb.capacity)], remember("all addresses", stats.fdb.entries)),
	];
}

function disk_tiles(stats, old) {
	const reads = sum(stats.exports, old.exports, "reads"), writes = sum(stats.exports, old.exports, "writes");
	const bytes = sum(stats.exports, old.exports, "read_bytes") + sum(stats.exports, old.exports, "written_bytes");
	const errors = sum(stats.exports, old.exports, "errors");
	return [
		tile("Disks", [String(list(stats.disks).length), "in " + list(stats.exports).length + " exports"]),
		tile("Reads", si(reads, "/s"), remember("all reads", reads)),
		tile("Writes", si(writes, "/s"), remember("all writes", writes)),
		tile("Traffic", si(bytes, "B/s"), remember("all bytes", bytes)),
		tile("Errors", si(errors, "/s"), remember("all errors", errors), errors > 0),
	];
}

// ---- ports, drops, workers ----

// The value that so much of what was counted since does not exceed, as Prometheus' histogram_quantile() has it; null: nothing was.
function quantile(histogram, old, part) {
	const bounds = list((histogram || {}).le), then = list((old || {}).counts);
	let counts = list((histogram || {}).counts).map((count, i) => number(count) - number(then[i]));
	if (counts.some(count => count < 0))
		counts = histogram.counts.map(number); // the port was made anew
	let rest = part * counts.reduce((all, count) => all + count, 0);
	if (!rest || !bounds.length)
		return null;
	for (let i = 0; i < bounds.length; rest -= counts[i++])
		if (counts[i] > 0 && counts[i] >= rest)
			return (i ? bounds[i - 1] : 0) + (bounds[i] - (i ? bounds[i - 1] : 0)) * rest / counts[i];
	return bounds[bounds.length - 1];
}

// Of the last interval in which something was timed, for it is one burst in many.
const latencies = new WeakMap();
function latency(port, was) {
	const of = object => (object.histograms || {}).latency_ns;
	const value = was.name === undefined ? null : quantile(of(port), of(was), 0.99);
	latencies.set(port, value === null ? latencies.get(was) || null : value);
	return latencies.get(port);
}

function show_ports(ports, old) {
	const rows = ports.map(port => {
		const was = named(old, port.name) || {}, of = (key, factor = 1) => {
			const value = rate(port[key], was[key]);
			return value === null ? null : factor * value;
		};
		const drops = number(port.rx_drops) + number(port.tx_drops);
		const lost = rate(drops, was.name === undefined ? undefined : number(was.rx_drops) + number(was.tx_drops));
		const stayed = latency(port, was);
		const bits = remember("port " + port.name, (of("rx_bytes", 8) || 0) + (of("tx_bytes", 8) || 0));
		return [name(port.name), cell(port.type, "left"), state(port), rated(of("rx_frames"), "/s"), rated(of("rx_bytes", 8), "bit/s"), cell(whole(port.rx_frames)),
			cell(stayed === null ? "–" : seconds(Math.round(stayed))), rated(of("tx_frames"), "/s"), rated(of("tx_bytes", 8), "bit/s"), cell(whole(port.tx_frames)),
			fault(lost, lost === null ? "–" : said(si(lost, "/s"))), cell(whole(drops)), cell(spark(bits))];
	});
	table("ports", [[["", "left group", 3], ["From the port", "group", 4], ["To the port", "group", 3], ["Drops", "group", 2], ["", "group", 1]],
		[["Port", "left"], ["Type", "left"], ["State", "left"], ["Frames"], ["Traffic"], ["In all"], ["99 % within"], ["Frames"], ["Traffic"], ["In all"], ["Now"], ["In all"],
			["Last minute"]]], rows);
}

function drops_of(port) {
	const found = new Map(), add = (key, value) => found.set(key, (found.get(key) || 0) + value);
	for (const counters of [port.counters || {}, ...list(port.queue_counters)])
		for (const [key, value] of Object.entries(counters))
			if (typeof value === "number" && !NO_DROPS.has(key))
				add(counters.direction ? `${counters.direction}_${key}` : key, value);
	const told = [...found].reduce((all, [key, value]) => all + (/^tx_(no_buffer|too_long|disabled|error|offload_refused|filtered)$/.test(key) ? value : 0), 0);
	if (found.has("tx_lost")) // why, the queues' counters say
		found.set("tx_lost", Math.max(0, found.get("tx_lost") - told));
	return found;
}

function show_drops(ports, old) {
	const rows = [];
	for (const port of ports) {
		const was = named(old, port.name), then = was ? drops_of(was) : new Map();
		for (const [key, value] of drops_of(port))
			if (value)
				rows.push({port: port.name, key, value, now: rate(value, then.get(key))});
	}
	rows.sort((a, b) => (b.now || 0) - (a.now || 0) || b.value - a.value);
	table("drops", [[["Port", "left"], ["Reason", "left"], ["Now"], ["In all"]]], rows.slice(0, DROPS_SHOWN).map(row => {
		const reason = cell(REASONS[row.key] || REASONS[row.key.replace(/^[rt]x_/, "")] || row.key.replaceAll("_", " "), "left text");
		reason.title = row.key;
		return [name(row.port), reason, fault(row.now, row.now === null ? "–" : said(si(row.now, "/s"))), cell(whole(row.value))];
	}));
	$("drops").querySelector("table").hidden = !rows.length;
	$("no-drops").hidden = rows.length > 0 && rows.length <= DROPS_SHOWN;
	$("no-drops").textContent = rows.length ? `and ${rows.length - DROPS_SHOWN} more that are less` : "Nothing has been dropped.";
}

// Where the daemon does not say how busy a worker is, it is how many of its loops found work.
function load(worker, was) {
	if (typeof worker.busy_percent === "number")
		return worker.busy_percent;
	const loops = worker.loops - number(was.loops);
	return loops > 0 ? 100 * (worker.busy_loops - number(was.busy_loops)) / loops : 0;
}

function show_workers(workers, old) {
	table("workers", [[["Worker", "left"], ["CPU"], ["Busy", "left"], ["Done"], ["Cycles each"], ["Wake-ups"]]], workers.map((worker, i) => {
		const was = list(old)[i] || {}, key = "frames" in worker ? "frames" : "requests", done = worker[key] - number(was[key]);
		const busy = Math.min(100, Math.max(0, load(worker, was))), fill = element("i", busy > 85 ? {class: "high"} : {});
		fill.style.width = busy + "%";
		const each = done > 0 && was[key] !== undefined ? said(si((worker.busy_cycles - was.busy_cycles) / done, "")) : "–";
		const bar = element("span", {}, element("span", {class: "bar"}, fill), Math.round(busy) + " %");
		return [name(String(worker.worker)), cell(worker.cpu === null || worker.cpu === undefined ? "any" : String(worker.cpu)), cell(bar, "left"),
			rated(rate(worker[key], was[key]), "/s"), cell(each), rated(rate(worker.wakeups, was.wakeups), "/s")];
	}));
}

// ---- disks ----

function show_disks(disks) {
	const ops = ["read", "write", "flush"];
	table("disks", [[["", "left group", 4], ...ops.map(op => [`${op[0].toUpperCase()}${op.slice(1)} takes (median, 99 %, most)`, "group", 1])],
		[["Disk", "left"], ["Kind", "left"], ["Size"], ["Exports"], ...ops.map(() => [""])]], disks.map(disk => [name(disk.name), cell(String(disk.kind), "left"),
		cell(said(si(number(disk.size_bytes), "B", 1024))), cell(whole(disk.exports)), ...ops.map(op => {
			const latency = (disk.latency || {})[op];
			return cell(latency && latency.count ? [latency.p50_ns, latency.p99_ns, latency.max_ns].map(seconds).join(" · ") : "–");
		})]));
}

function show_exports(exports, old) {
	table("exports", [[["", "left group", 4], ["Reads", "group", 2], ["Writes", "group", 2], ["", "group", 2]],
		[["Export", "left"], ["Disk", "left"], ["Type", "left"], ["State", "left"], ["Now"], ["Traffic"], ["Now"], ["Traffic"], ["Errors"], ["Last minute"]]],
	exports.map(e => {
		const was = named(old, e.name) || {}, of = key => rate(number(e[key]), was[key]);
		const all = remember("export " + e.name, (of("reads") || 0) + (of("writes") || 0));
		return [name(e.name), cell(String(e.disk || "–"), "left"), cell(e.type, "left"), state(e), rated(of("reads"), "/s"), rated(of("read_bytes"), "B/s"), rated(of("writes"), "/s"),
			rated(of("written_bytes"), "B/s"), fault(number(e.errors), whole(e.errors)), cell(spark(all))];
	}));
}

// ---- who talks to whom ----

const WIDE = 720, HIGH = 500, RADIUS = 168;

function busiest(ports, old) {
	const traffic = new Map(ports.map(port => {
		const was = named(old, port.name) || {};
		return [port.name, (rate(port.rx_frames, was.rx_frames) || 0) + (rate(port.tx_frames, was.tx_frames) || 0)];
	}));
	const chosen = [...ports].sort((a, b) => traffic.get(b.name) - traffic.get(a.name) || (b.rx_frames + b.tx_frames) - (a.rx_frames + a.tx_frames)).slice(0, PORTS_SHOWN);
	const names = new Set(chosen.map(port => port.name));
	return ports.filter(port => names.has(port.name)); // they keep their places
}

function places(ports) {
	return new Map(ports.map((port, i) => {
		const angle = 2 * Math.PI * i / ports.length + (ports.length === 2 ? Math.PI : -Math.PI / 2);
		return [port.name, {port, angle, x: WIDE / 2 + 1.3 * RADIUS * Math.cos(angle), y: HIGH / 2 + RADIUS * Math.sin(angle)}];
	}));
}

// From one place to another, a bit to the left of the straight line, so that both ways are seen.
function curve(from, to) {
	const x = (from.x + to.x) / 2, y = (from.y + to.y) / 2, dx = to.x - from.x, dy = to.y - from.y;
	const pull = Math.hypot(x - WIDE / 2, y - HIGH / 2) > 1 ? 0.22 : 0, bow = 0.13;
	const cx = x + (WIDE / 2 - x) * pull + dy * bow, cy = y + (HIGH / 2 - y) * pull - dx * bow;
	return {d: `M${from.x} ${from.y} Q${cx} ${cy} ${to.x} ${to.y}`, x: (x + cx) / 2, y: (y + cy) / 2};
}

function draw_edge(picture, pair, from, to, labelled) {
	const way = curve(from, to), quiet = !(pair.frames > 0), width = quiet ? 1.5 : Math.min(11, 1.5 + 1.5 * Math.log10(1 + pair.frames));
	const tip = `${pair.from} to ${pair.to}: ${said(si(pair.frames || 0, "/s"))}, ${said(si(8 * (pair.bytes || 0), "bit/s"))}`;
	picture.append(drawn("path", {class: "edge" + (quiet ? " quiet" : from.angle > to.angle ? " back" : ""), d: way.d, "stroke-width": width}, drawn("title", {}, tip)));
	if (!quiet)
		picture.append(drawn("path", {class: "flow", d: way.d}));
	if (!quiet && labelled)
		return drawn("text", {class: "rate", x: way.x, y: way.y + 4, "text-anchor": "middle"}, said(si(8 * pair.bytes, "bit/s")));
	return null;
}

function draw_node(picture, place, count) {
	const port = place.port, good = ["connected", "up"].includes(port.state) && port.link !== "down", bad = port.state === "failed" || port.link === "down";
	const right = Math.cos(place.angle) > 0.15, left = Math.cos(place.angle) < -0.15, below = Math.sin(place.angle) > 0.5 && !right && !left;
	const text = port.name.length > 20 ? port.name.slice(0, 11) + "…" + port.name.slice(-8) : port.name;
	const x = place.x + (right ? 22 : left ? -22 : 0), y = place.y + (right || left ? -1 : below ? 34 : -38), anchor = right ? "start" : left ? "end" : "middle";
	picture.append(drawn("circle", {class: "node" + (good ? " good" : bad ? " bad" : ""), cx: place.x, cy: place.y, r: count > 12 ? 10 : 14}, drawn("title", {}, port.name)));
	picture.append(drawn("text", {x, y, "text-anchor": anchor, "font-weight": 600}, text));
	picture.append(drawn("text", {class: "dim", x, y: y + 15, "text-anchor": anchor}, good ? port.type : port.link === "down" ? "link down" : port.state));
}

function pairs_now() {
	const talk = now.talk || {}, last = before && before.talk || {};
	const anew = talk.since_us !== last.since_us, s = anew && before ? (now.stats.time_us - talk.since_us) / 1e6 : elapsed();
	const then = new Map(anew ? [] : list(last.pairs).map(pair => [JSON.stringify([pair.from, pair.to]), pair]));
	return list(talk.pairs).map(pair => {
		const was = then.get(JSON.stringify([pair.from, pair.to])) || {frames: 0, bytes: 0}, each = key => s > 0 && pair[key] >= was[key] ? (pair[key] - was[key]) / s : null;
		return {from: pair.from, to: pair.to, frames: each("frames"), bytes: each("bytes")};
	});
}

function show_talk(ports, old) {
	const shown = busiest(ports, old), where = places(shown), picture = $("picture");
	const pairs = pairs_now().filter(pair => where.has(pair.from) && where.has(pair.to)).sort((a, b) => (a.frames || 0) - (b.frames || 0));
	const busy = pairs.filter(pair => pair.frames > 0).length;
	picture.replaceChildren();
	const labels = pairs.map(pair => draw_edge(picture, pair, where.get(pair.from), where.get(pair.to), busy <= 12)).filter(label => label);
	for (const place of where.values())
		draw_node(picture, place, shown.length);
	picture.append(...labels);
	$("talk-note").textContent = (shown.length < ports.length ? `The busiest ${shown.length} of ${ports.length} ports. ` : "") +
		(now.talk ? (pairs.length ? "A line is as thick as there are many frames; a dashed one is silent by now." : "Nobody has sent a frame to another port yet.") :
			"The daemon has not told who talks to whom.") +
		(now.talk && now.talk.uncounted > 0 ? ` There is no room to count so many pairs: ${whole(now.talk.uncounted)} frames are not shown.` : "");
	$("talk").hidden = false;
}

// ---- each second ----

function show() {
	const stats = now.stats, old = before ? before.stats : {}, version = now.version || {};
	$("daemon").textContent = version.daemon || "Vireo";
	$("version").textContent = version.version || "";
	document.title = (version.daemon || "Vireo") + " · live";
	$("tiles").replaceChildren(...(stats.ports ? network_tiles(stats, old) : disk_tiles(stats, old)));
	if (stats.ports) {
		show_talk(stats.ports, old.ports);
		show_ports(stats.ports, old.ports);
		show_drops(stats.ports, old.ports);
	}
	if (stats.workers)
		show_workers(stats.workers, old.workers);
	if (stats.disks)
		show_disks(stats.disks);
	if (stats.exports)
		show_exports(stats.exports, old.exports);
	forget_unseen();
}

function live(text, gone) {
	$("live").textContent = text;
	$("live").className = gone ? "gone" : "";
	document.querySelector("main").className = gone ? "stale" : "";
}

async function look() {
	try {
		const answer = await fetch("/state.json", {cache: "no-store"});
		const state = await answer.json();
		if (!answer.ok || !state.stats)
			throw new Error(state.error || "no answer");
		if (now && state.stats.time_us <= now.stats.time_us) { // the same answer, or another daemon
			if (state.stats.time_us === now.stats.time_us)
				return;
			now = null;
		}
		before = now;
		now = state;
		show();
		live("live", false);
	} catch (error) {
		live(error instanceof TypeError ? "vireoctl serve has gone" : error.message, true);
	}
}

async function turn() {
	if (!paused && !document.hidden)
		await look();
	setTimeout(turn, EVERY_MS);
}

$("pause").addEventListener("click", () => {
	paused = !paused;
	$("pause").textContent = paused ? "Go on" : "Pause";
	$("pause").setAttribute("aria-pressed", String(paused));
	live(paused ? "paused" : "live", false);
});
turn();
