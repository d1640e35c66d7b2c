/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/bounds.h"

/* One certificate with those that vouch for it, and its key. */
struct pair {
	struct pair *earlier;
	gnutls_pcert_st cert[DAEMON_TLS_CHAIN];
	unsigned cert_n;
	gnutls_privkey_t key;
};

/*
 * GnuTLS gives its callback no argument of ours, and reads the pair after the callback has returned: so the pair is known here, and earlier
 * ones stay until the end. They are few: each is a SIGHUP.
 */
static _Atomic(struct pair *) current;

static void pair_free(struct pair *p)
{
	for (unsigned i = 0; i < p->cert_n; i++)
		gnutls_pcert_deinit(&p->cert[i]);
	if (p->key)
		gnutls_privkey_deinit(p->key);
	free(p);
}
DW_DEFINE_CLEANUP(struct pair *, pair_free)

static int bad(struct dw_err *err, const char *option, const char *path, const char *why)
{
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option", "%s: %s %s", option, path, why);
}

/* The file with a NUL behind it, malloc'ed. private: others must not be able to read it. */
static int read_file(const char *option, const char *path, bool private, gnutls_datum_t *ret, struct dw_err *err)
{
	struct stat st;
	dw_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return bad(err, option, path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size < 1 || st.st_size > (off_t)DAEMON_TLS_FILE_MAX)
		return bad(err, option, path, "is no PEM file");
	/* A group may: that is how other servers of the machine are given keys. */
	if (private && (st.st_mode & (S_IRWXO | S_IWGRP)))
		return bad(err, option, path,
			   "may be read by everybody on this machine, or changed by a group: chmod 600 it");
	dw_autofree char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return dw_err_errno(err, ENOMEM, "reading %s", path);
	const ssize_t n = read(fd, text, (size_t)st.st_size);
	if (n != st.st_size)
		return bad(err, option, path, "could not be read whole");
	text[n] = '\0';
	*ret = (gnutls_datum_t){ .size = (unsigned)n };
	ret->data = (unsigned char *)DW_TAKE(text);
	return 0;
}

static void datum_done(gnutls_datum_t *d)
{
	if (d->data)
		gnutls_memset(d->data, 0, d->size);
	free(d->data);
}

/* GnuTLS compares the two when it is given them for a connection of its own, so a pair that does not fit is found here. */
static int check_pair(const char *cert_path, const char *key_path, const gnutls_datum_t *cert,
		      const gnutls_datum_t *key, struct dw_err *err)
{
	gnutls_certificate_credentials_t c;
	if (gnutls_certificate_allocate_credentials(&c) < 0)
		return dw_err_errno(err, ENOMEM, "reading %s", cert_path);
	const int r = gnutls_certificate_set_x509_key_mem(c, cert, key, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_free_credentials(c);
	if (r >= 0)
		return 0;
	return dw_err_set(err, DW_ERR_INVALID, "invalid_option",
			  "--tls-key: the key in %s does not belong to the certificate in %s (%s)", key_path, cert_path,
			  gnutls_strerror(r));
}

static int make_pair(const char *cert_path, const char *key_path, struct pair *p, struct dw_err *err)
{
	__attribute__((cleanup(datum_done))) gnutls_datum_t cert = { 0 };
	__attribute__((cleanup(datum_done))) gnutls_datum_t key = { 0 };
	if (read_file("--tls-cert", cert_path, false, &cert, err) < 0 ||
	    read_file("--tls-key", key_path, true, &key, err) < 0)
		return -1;
	unsigned n = DW_COUNT(p->cert);
	if (gnutls_pcert_list_import_x509_raw(p->cert, &n, &cert, GNUTLS_X509_FMT_PEM, 0) < 0 || !n)
		return bad(err, "--tls-cert", cert_path, "holds no certificate in PEM, or too many");
	p->cert_n = n;
	if (gnutls_privkey_init(&p->key) < 0)
		return dw_err_errno(err, ENOMEM, "reading %s", key_path);
	if (gnutls_privkey_import_x509_raw(p->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0) < 0)
		return bad(err, "--tls-key", key_path, "holds no private key in PEM, or one with a pass phrase");
	return check_pair(cert_path, key_path, &cert, &key, err);
}

int tls_load(const char *cert_path, const char *key_path, struct dw_err *err)
{
	DW_AUTO(pair_free) struct pair *p = calloc(1, sizeof(*p));
	if (!p)
		return dw_err_errno(err, ENOMEM, "reading %s", cert_path);
	if (make_pair(cert_path, key_path, p, err) < 0)
		return -1;
	p->earlier = atomic_load(&current);
	atomic_store(&current, DW_TAKE(p));
	return 0;
}

void tls_done(void)
{
	struct pair *p = atomic_exchange(&current, NULL);
	while (p) {
		struct pair *earlier = p->earlier;
		pair_free(p);
		p = earlier;
	}
}

static int give(gnutls_session_t session, const gnutls_datum_t *names, int names_n,
		const gnutls_pk_algorithm_t *algorithm, int algorithm_n, gnutls_pcert_st **ret_cert, unsigned *ret_n,
		gnutls_privkey_t *ret_key)
{
	struct pair *p = atomic_load(&current);
	if (!p)
		return -1;
	*ret_cert = p->cert;
	*ret_n = p->cert_n;
	*ret_key = p->key;
	return 0;
}

void tls_options(struct MHD_OptionItem item[static 3])
{
	/* The type is GnuTLS' own; libmicrohttpd takes it as a pointer. */
	gnutls_certificate_retrieve_function2 *callback = give;
	item[0] = (struct MHD_OptionItem){ .option = MHD_OPTION_HTTPS_CERT_CALLBACK };
	memcpy(&item[0].ptr_value, &callback, sizeof(callback));
	item[1] = (struct MHD_OptionItem){ .option = MHD_OPTION_HTTPS_PRIORITIES };
	static char priorities[] = TLS_PRIORITIES;
	item[1].ptr_value = priorities;
	item[2] = (struct MHD_OptionItem){ .option = MHD_OPTION_END };
}
