/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

#define RULE_SIZE    (DW_POLICY_ENTRY_MAXLEN + 64)
#define WHAT_SIZE    (DW_HOST_SIZE + DW_ADDR_STRLEN + 32)
#define MESSAGE_SIZE 2048

static const char *const steps[] = {
	[CHECK_QUERY] = "query",
	[CHECK_ANSWER] = "answer",
	[CHECK_FLOW] = "flow",
	[CHECK_NAME] = "name",
};
static_assert(DW_COUNT(steps) == CHECK__COUNT, "every step has its word");

static const char *const notes[] = {
	[CHECK_NOTE_NONE] = NULL,
	[CHECK_NOTE_NO_ADDRESS] = "the addresses of the name were not judged (--resolve NAME=ADDR plays the lookup)",
	[CHECK_NOTE_MUST_PROVE] = "the flow must prove the name as it starts",
};
static_assert(DW_COUNT(notes) == CHECK_NOTE__COUNT, "every note has its words");

static const char *verdict_word(const struct dw_decision *d)
{
	return d->verdict == DW_DENY ? "deny" : "allow";
}

/* An address that may be passed on has no reason of its own. */
static const char *reason_word(const struct dw_decision *d)
{
	return d->reason == DW_REASON_NONE ? "-" : dw_reason_name(d->reason);
}

static void label(const struct show_target *t, const struct check_row *r, char buf[static WHAT_SIZE])
{
	char addr[DW_ADDR_STRLEN];

	if (r->addr.family == DW_AF_NONE)
		snprintf(buf, WHAT_SIZE, "%s", t->text);
	else
		snprintf(buf, WHAT_SIZE, "%s (%s)", t->text, dw_addr_format(&r->addr, addr));
}

static void step_what(const struct target *t, const struct check_step *s, char buf[static WHAT_SIZE])
{
	char addr[DW_ADDR_STRLEN];
	const bool v6 = s->addr.family == DW_AF_6;

	dw_addr_format(&s->addr, addr);
	switch (s->kind) {
	case CHECK_QUERY:
		snprintf(buf, WHAT_SIZE, "%s", t->name);
		return;
	case CHECK_ANSWER:
		snprintf(buf, WHAT_SIZE, "%s", addr);
		return;
	case CHECK_FLOW:
		if (!t->port)
			snprintf(buf, WHAT_SIZE, "%s", addr);
		else
			snprintf(buf, WHAT_SIZE, v6 ? "[%s]:%u" : "%s:%u", addr, t->port);
		return;
	case CHECK_NAME:
	case CHECK__COUNT:
		snprintf(buf, WHAT_SIZE, "%s:%u", *t->name ? t->name : "-", t->port);
		return;
	}
}

typedef void visit(const struct show *s, const struct show_target *t, const struct check_row *r, void *arg);

/* Decides everything once more each time: that costs less than keeping all results. */
static long for_each(const struct show *s, visit *fn, void *arg)
{
	dw_autofree struct check_row *r = malloc(sizeof(*r));
	long refused = 0;

	if (!r)
		return -1;
	for (size_t i = 0; i < s->target_n; i++) {
		const struct show_target *t = &s->target[i];
		const size_t rows = check_rows(s->check, &t->target);
		for (size_t j = 0; j < rows; j++) {
			check_row(s->check, &t->target, j, r);
			refused += r->d.verdict == DW_DENY;
			fn(s, t, r, arg);
		}
	}
	return refused;
}

struct table {
	FILE *out;
	int target_w, reason_w;
	unsigned noted;
};

static void measure(const struct show *s, const struct show_target *t, const struct check_row *r, void *arg)
{
	struct table *w = arg;
	char what[WHAT_SIZE];

	label(t, r, what);
	w->target_w = DW_MAX(w->target_w, (int)strlen(what));
	w->reason_w = DW_MAX(w->reason_w, (int)strlen(reason_word(&r->d)));
}

static void print_steps(const struct show *s, const struct check_row *r, FILE *out)
{
	char what[WHAT_SIZE], rule[RULE_SIZE];

	for (size_t i = 0; i < r->step_n; i++) {
		const struct check_step *step = &r->step[i];
		step_what(r->target, step, what);
		dw_policy_rule_text(s->check->policy, step->d.rule, rule, sizeof(rule));
		fprintf(out, "    %-6s %s: %s", steps[step->kind], what, verdict_word(&step->d));
		if (step->d.reason != DW_REASON_NONE)
			fprintf(out, ", %s", dw_reason_name(step->d.reason));
		if (step->d.would != DW_REASON_NONE)
			fprintf(out, " (%s)", dw_reason_name(step->d.would));
		fprintf(out, "%s%s\n", *rule ? ", " : "", rule);
	}
}

static void print_row(const struct show *s, const struct show_target *t, const struct check_row *r, void *arg)
{
	struct table *w = arg;
	char what[WHAT_SIZE], rule[RULE_SIZE], message[MESSAGE_SIZE];

	label(t, r, what);
	dw_policy_rule_text(s->check->policy, r->d.rule, rule, sizeof(rule));
	fprintf(w->out, "%-*s  %-7s  %-*s  %s\n", w->target_w, what, verdict_word(&r->d), w->reason_w,
		reason_word(&r->d), *rule ? rule : "-");
	if (r->d.verdict == DW_DENY || r->d.reason == DW_REASON_OBSERVED)
		fprintf(w->out, "    %s\n", dw_explain(s->check->policy, &r->d, what, message, sizeof(message)));
	if (s->verbose)
		print_steps(s, r, w->out);
	w->noted |= 1u << r->note;
}

long show_table(const struct show *s, FILE *out)
{
	struct table w = { .out = out, .target_w = 6, .reason_w = 6 };

	if (for_each(s, measure, &w) < 0)
		return -1;
	fprintf(out, "%-*s  %-7s  %-*s  %s\n", w.target_w, "TARGET", "VERDICT", w.reason_w, "REASON", "RULE");
	long refused = for_each(s, print_row, &w);
	for (size_t i = 1; i < DW_COUNT(notes); i++) {
		if (w.noted & 1u << i)
			fprintf(out, "note: %s\n", notes[i]);
	}
	return refused;
}

struct json_out {
	FILE *out;
	const char *before;
	bool failed;
};

/* An entry or a target may hold what is no UTF-8 only where it was refused before: what comes here is ASCII. */
static void set(struct json_out *o, json_t *to, const char *key, json_t *value)
{
	if (json_object_set_new(to, key, value) < 0)
		o->failed = true;
}

static void set_decision(struct json_out *o, const struct show *s, json_t *to, const struct dw_decision *d)
{
	char rule[RULE_SIZE];

	dw_policy_rule_text(s->check->policy, d->rule, rule, sizeof(rule));
	set(o, to, "verdict", json_string(verdict_word(d)));
	set(o, to, "reason", d->reason == DW_REASON_NONE ? json_null() : json_string(dw_reason_name(d->reason)));
	set(o, to, "rule", *rule ? json_string(rule) : json_null());
	if (d->would != DW_REASON_NONE)
		set(o, to, "would", json_string(dw_reason_name(d->would)));
}

static json_t *steps_json(struct json_out *o, const struct show *s, const struct check_row *r)
{
	json_t *list = json_array();
	char what[WHAT_SIZE];

	for (size_t i = 0; i < r->step_n; i++) {
		json_t *j = json_object();
		step_what(r->target, &r->step[i], what);
		set(o, j, "step", json_string(steps[r->step[i].kind]));
		set(o, j, "what", json_string(what));
		set_decision(o, s, j, &r->step[i].d);
		if (json_array_append_new(list, j) < 0)
			o->failed = true;
	}
	return list;
}

static void print_json(const struct show *s, const struct show_target *t, const struct check_row *r, void *arg)
{
	struct json_out *o = arg;
	json_t *j = json_object();
	char what[WHAT_SIZE], message[MESSAGE_SIZE], addr[DW_ADDR_STRLEN];

	label(t, r, what);
	set(o, j, "target", json_string(t->text));
	if (r->addr.family != DW_AF_NONE)
		set(o, j, "address", json_string(dw_addr_format(&r->addr, addr)));
	set_decision(o, s, j, &r->d);
	set(o, j, "message", json_string(dw_explain(s->check->policy, &r->d, what, message, sizeof(message))));
	if (notes[r->note])
		set(o, j, "note", json_string(notes[r->note]));
	set(o, j, "steps", steps_json(o, s, r));
	fputs(o->before, o->out);
	o->before = ",\n ";
	if (json_dumpf(j, o->out, JSON_COMPACT) < 0)
		o->failed = true;
	json_decref(j);
}

long show_json(const struct show *s, FILE *out)
{
	struct json_out o = { .out = out, .before = "[" };

	long refused = for_each(s, print_json, &o);
	fputs("]\n", out);
	return o.failed ? -1 : refused;
}
