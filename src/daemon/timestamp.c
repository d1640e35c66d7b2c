/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/timestamp.h"

#define SECONDS_MAX 253402300799 /* the end of the year 9999 */

/* n digits at *at; false when there are not so many. */
static bool digits(const char **at, int n, int *ret)
{
	int v = 0;
	for (int i = 0; i < n; i++, ++*at) {
		if (**at < '0' || **at > '9')
			return false;
		v = v * 10 + (**at - '0');
	}
	*ret = v;
	return true;
}

static bool skip(const char **at, char c)
{
	if (**at != c)
		return false;
	++*at;
	return true;
}

/* "" or "." and 1 to 9 digits; what is below a microsecond is cut off. */
static bool fraction(const char **at, int *ret_us)
{
	int us = 0, scale = 100000, n = 0;
	if (!skip(at, '.')) {
		*ret_us = 0;
		return true;
	}
	for (; **at >= '0' && **at <= '9' && n < 9; n++, ++*at, scale /= 10)
		us += (**at - '0') * scale;
	*ret_us = us;
	return n > 0;
}

static bool is_leap(int y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t days_before(int year, int month, int day)
{
	static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	const int y = year - 1;
	const int64_t years = (int64_t)y * 365 + y / 4 - y / 100 + y / 400;
	return years - 719162 + before[month - 1] + (month > 2 && is_leap(year)) + day - 1; /* 719162: of 1970-01-01 */
}

static bool date(const char **at, int64_t *ret_days)
{
	static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int y, m, d;
	if (!digits(at, 4, &y) || !skip(at, '-') || !digits(at, 2, &m) || !skip(at, '-') || !digits(at, 2, &d))
		return false;
	if (y < 1970 || m < 1 || m > 12 || d < 1 || d > month_days[m - 1] + (m == 2 && is_leap(y)))
		return false;
	*ret_days = days_before(y, m, d);
	return true;
}

/* "Z" or "+hh:mm": seconds east of UTC. */
static bool offset(const char **at, int *ret)
{
	int h, m, sign;
	if (skip(at, 'Z') || skip(at, 'z')) {
		*ret = 0;
		return true;
	}
	sign = **at == '-' ? -1 : **at == '+' || **at == ' ' ? 1 : 0;
	if (!sign)
		return false;
	++*at;
	if (!digits(at, 2, &h) || !skip(at, ':') || !digits(at, 2, &m) || h > 23 || m > 59)
		return false;
	*ret = sign * (h * 3600 + m * 60);
	return true;
}

static bool parse_date_time(const char *at, int64_t *ret_us)
{
	int64_t days;
	int h, m, s, us, east;
	if (!date(&at, &days) || !(skip(&at, 'T') || skip(&at, 't')) || !digits(&at, 2, &h) || !skip(&at, ':') ||
	    !digits(&at, 2, &m) || !skip(&at, ':') || !digits(&at, 2, &s) || !fraction(&at, &us) || !offset(&at, &east))
		return false;
	const int64_t seconds = days * 86400 + h * 3600 + m * 60 + s - east;
	if (*at || h > 23 || m > 59 || s > 59 || seconds < 0 || seconds > SECONDS_MAX)
		return false;
	*ret_us = seconds * 1000000 + us;
	return true;
}

static bool parse_seconds(const char *at, int64_t *ret_us)
{
	int64_t seconds = 0;
	int us, n = 0;
	for (; *at >= '0' && *at <= '9' && n < 12; n++, at++)
		seconds = seconds * 10 + (*at - '0');
	if (!n || !fraction(&at, &us) || *at || seconds > SECONDS_MAX)
		return false;
	*ret_us = seconds * 1000000 + us;
	return true;
}

bool timestamp_parse(const char *text, int64_t *ret_us)
{
	return parse_date_time(text, ret_us) || parse_seconds(text, ret_us);
}
