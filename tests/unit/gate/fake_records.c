/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_test.h"

struct gate_record fake_record;
char fake_record_name[512];
char fake_record_sandbox[72];
unsigned int fake_record_n;

void gate_record(struct gate *g, const struct gate_record *r)
{
	fake_record = *r;
	fake_record.name = NULL;
	fake_record.sandbox = NULL;
	snprintf(fake_record_name, sizeof(fake_record_name), "%s", r->name ? r->name : "");
	snprintf(fake_record_sandbox, sizeof(fake_record_sandbox), "%s", r->sandbox ? r->sandbox->id : "");
	fake_record_n++;
}
