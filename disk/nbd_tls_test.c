/* SPDX-License-Identifier: BSD-3-Clause */
/* nbd with TLS: servers that are the right ones and others, by keys that both sides know and by certificates of certtool. */
#include "disk/test_nbdkit.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define SHELL_SECONDS 60u

/* In the test's folder; only what has an exit status of 0 goes on. */
static void shell(const char *text)
{
	pid_t child = fork();
	int status = -1;

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(SHELL_SECONDS);
		if (!chdir(folder))
			execl("/bin/sh", "sh", "-e", "-c", text, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static bool have_certtool(void)
{
	if (!access("/usr/bin/certtool", X_OK) || !access("/usr/local/bin/certtool", X_OK))
		return true;
	print_message("skipped: there is no certtool (gnutls-bin)\n");
	return false;
}

static const char *in_folder(const char *key, const char *name)
{
	static char texts[4][128];
	static unsigned next;
	char *text = texts[next++ % ARRAY_SIZE(texts)];

	snprintf(text, sizeof(texts[0]), "%s=%s/%s", key, folder, name);
	return text;
}

static void expect_opened(const char *whole)
{
	static uint8_t out[4096], in[4096];
	const struct iovec write_iov = {out, sizeof(out)}, read_iov = {in, sizeof(in)};
	struct test_disk t = test_disk_open(whole);

	test_fill(out, sizeof(out), 5);
	memset(in, 0, sizeof(in));
	assert_int_equal(test_do(&t, DISK_WRITE, 0, 4096, sizeof(out), &write_iov, 1), 0);
	assert_int_equal(test_do(&t, DISK_READ, 0, 4096, sizeof(in), &read_iov, 1), 0);
	assert_memory_equal(in, out, sizeof(in));
	test_disk_close(&t);
}

/* ---- keys that both sides know ---- */

static void who_has_the_key_is_served(void **state)
{
	char keys[160];
	pid_t child;

	NEED_NBDKIT();
	shell("umask 077; echo alice:000102030405060708090a0b0c0d0e0f >right; echo alice:ff0102030405060708090a0b0c0d0e0f >wrong");
	child = serve("--tls=require", in_folder("--tls-psk", "right"), "memory", "1M", (char *)NULL);
	snprintf(keys, sizeof(keys), ",tls=on,tls-user=alice,%s", in_folder("tls-psk", "right"));
	expect_opened(spec(keys));
	snprintf(keys, sizeof(keys), ",tls=on,tls-user=alice,%s", in_folder("tls-psk", "wrong"));
	expect_refused(keys, "gnutls_handshake");
	snprintf(keys, sizeof(keys), ",tls=on,tls-user=alice,%s", in_folder("tls-psk", "none"));
	expect_refused(keys, "none");
	snprintf(keys, sizeof(keys), ",tls=on,tls-user=mallory,%s", in_folder("tls-psk", "right"));
	expect_refused(keys, "");
	expect_refused("", "TLS");
	end(child);
	child = serve("memory", "1M", (char *)NULL);
	snprintf(keys, sizeof(keys), ",tls=on,tls-user=alice,%s", in_folder("tls-psk", "right"));
	expect_refused(keys, "TLS");
	end(child);
	shell("rm right wrong");
}

/* ---- certificates ---- */

static const char make_certificates[] =
	"exec >/dev/null 2>&1\n"
	"printf 'cn = test\\nca\\ncert_signing_key\\nexpiration_days = 2\\n' >ca.cfg\n"
	"printf 'cn = localhost\\nip_address = 127.0.0.1\\ntls_www_server\\nsigning_key\\nexpiration_days = 2\\n' >server.cfg\n"
	"for authority in ours theirs; do\n"
	"mkdir $authority\n"
	"for whose in ca server; do\n"
	"certtool --generate-privkey --key-type=ecdsa --curve=secp256r1 --outfile $authority/$whose-key.pem\n"
	"done\n"
	"certtool --generate-self-signed --load-privkey $authority/ca-key.pem --template ca.cfg --outfile $authority/ca-cert.pem\n"
	"certtool --generate-certificate --load-privkey $authority/server-key.pem --load-ca-privkey $authority/ca-key.pem"
	" --load-ca-certificate $authority/ca-cert.pem --template server.cfg --outfile $authority/server-cert.pem\n"
	"done\n";

/* At a port of 127.0.0.1, handed over as systemd does: it listens already. */
static pid_t serve_port(const char *certificates, unsigned *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t bytes = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0); /* nbdkit is to have it */
	char pid[16];
	pid_t child;

	assert_true(fd >= 3);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
	*ret_port = ntohs(address.sin_port);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(pid, sizeof(pid), "%d", getpid());
		if (dup2(fd, 3) == 3 && !setenv("LISTEN_FDS", "1", 1) && !setenv("LISTEN_PID", pid, 1))
			execlp("nbdkit", "nbdkit", "-f", "--tls=require", certificates, "memory", "1M", (char *)NULL);
		_exit(127);
	}
	close(fd);
	return child;
}

static const char *at_port(const char *host, unsigned port, const char *keys, const char *certificates)
{
	static char text[320];

	snprintf(text, sizeof(text), "nbd:nbds://%s:%u/%s,%s", host, port, keys, in_folder("tls-certificates", certificates));
	return text;
}

static void servers_certificate_has_to_be_of_an_authority_that_is_known(void **state)
{
	unsigned port;
	pid_t child;

	NEED_NBDKIT();
	if (!have_certtool())
		skip();
	shell(make_certificates);
	child = serve_port(in_folder("--tls-certificates", "ours"), &port);
	expect_opened(at_port("127.0.0.1", port, "", "ours"));
	expect_spec_refused(at_port("127.0.0.1", port, "", "theirs"), "gnutls_handshake");
	expect_opened(at_port("127.0.0.1", port, ",tls-verify=off", "theirs"));
	expect_spec_refused(at_port("127.0.0.1", port, "", "none"), "ca-cert.pem");
	expect_spec_refused(at_port("127.1", port, "", "ours"), "gnutls_handshake"); /* that is not what it is for */
	end(child);
	shell("rm -r ours theirs ca.cfg server.cfg");
}

/* libnbd would take any certificate. */
static void certificate_that_cannot_be_verified_is_no_protection(void **state)
{
	expect_refused(",tls=on", "tls-verify=off");
	expect_spec_refused("nbd:nbds+unix:///?socket=/nowhere,tls-certificates=/nowhere", "tls-verify=off");
	expect_refused(",tls=on,tls-verify=off", "No such file");
	expect_spec_refused("nbd:nbds://127.0.0.1:1/", "ca-cert.pem");
}

static int make_folder(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(socket_path);
	shell("rm -rf ours theirs right wrong ca.cfg server.cfg"); /* of a test that has failed */
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_the_key_is_served),
		cmocka_unit_test(certificate_that_cannot_be_verified_is_no_protection),
		cmocka_unit_test(servers_certificate_has_to_be_of_an_authority_that_is_known),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
