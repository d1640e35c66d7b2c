/* SPDX-License-Identifier: Apache-2.0 */
/* The suite's own cryptography against RFC 9001 appendix A and RFC 9369 appendix A, and nonces. */
#include <stdio.h>
#include <string.h>

#include "build.h"
#include "crypto.h"

static int failed;

static void check(bool ok, const char *what)
{
	printf("%s: %s\n", ok ? "ok" : "FAILED", what);
	failed += !ok;
}

static void hex(const char *text, uint8_t *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; text[i] && text[i + 1]; i += 2)
		out[i / 2] =
			(uint8_t)((strchr(digits, text[i]) - digits) * 16 + (strchr(digits, text[i + 1]) - digits));
}

static void check_keys(uint32_t version, const char *key, const char *iv, const char *hp, const char *what)
{
	uint8_t dcid[8], want[16];
	struct eg_quic_keys k;

	hex("8394c8f03e515708", dcid);
	eg_quic_initial_keys(version, dcid, sizeof(dcid), &k);
	hex(key, want);
	bool ok = memcmp(k.key, want, 16) == 0;
	hex(iv, want);
	ok = ok && memcmp(k.iv, want, 12) == 0;
	hex(hp, want);
	check(ok && memcmp(k.hp, want, 16) == 0, what);
}

static void check_mask(void)
{
	struct eg_quic_keys k;
	uint8_t dcid[8], sample[16], mask[16], want[5];

	hex("8394c8f03e515708", dcid);
	eg_quic_initial_keys(EG_QUIC_V1, dcid, sizeof(dcid), &k);
	hex("d1b1c98dd7689fb8ec11d242b123dc9b", sample);
	eg_quic_mask(&k, sample, mask);
	hex("437b9aec36", want);
	check(memcmp(mask, want, 5) == 0, "RFC 9001 A.2: header protection mask");
}

/* SP 800-38D test case 3 of the GCM specification, through the packet's interface: iv = nonce ^ number. */
static void check_gcm(void)
{
	struct eg_quic_keys k;
	uint8_t plain[64], want[80], out[80], back[64];

	hex("feffe9928665731c6d6a8f9467308308", k.key);
	hex("cafebabefacedbaddecaf888", k.iv);
	hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa"
	    "0de657ba637b391"
	    "aafd255",
	    plain);
	hex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a"
	    "0aac973d58e091473"
	    "f59854d5c2af327cd64a62cf35abd2ba6fab4",
	    want);
	eg_quic_seal(&k, 0, NULL, 0, plain, sizeof(plain), out);
	check(memcmp(out, want, sizeof(want)) == 0, "AES-128-GCM, test case 3");
	check(eg_quic_open(&k, 0, NULL, 0, out, sizeof(out), back) && memcmp(back, plain, sizeof(plain)) == 0,
	      "and back");
	out[3] ^= 1;
	check(!eg_quic_open(&k, 0, NULL, 0, out, sizeof(out), back), "a changed byte is noticed");
}

int main(void)
{
	char nonce[EG_NONCE + 1];
	size_t at;

	check_keys(EG_QUIC_V1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c",
		   "9f50449e04a0e810283a1e9933adedd2", "RFC 9001 A.1: client Initial keys");
	check_keys(EG_QUIC_V2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f",
		   "45b95e15235d6f45a6b19cbcb0294ba9", "RFC 9369 A.1: client Initial keys");
	check_mask();
	check_gcm();
	check(eg_nonce_find("..EG0a1B2c3dx0344D.test", 23, 0, nonce, &at) && at == 2 &&
		      strcmp(nonce, "eg0a1b2c3dx0344d") == 0,
	      "a nonce in another case of letters");
	check(!eg_nonce_find("eg0a1b2c3dx0345d", 16, 0, nonce, NULL), "a family that is none");
	check(!eg_nonce_find("eg0a1b2c3dx0344", 15, 0, nonce, NULL), "a nonce cut short");
	return failed != 0;
}
