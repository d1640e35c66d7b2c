/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int watched[] = { SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT };

int terminal_open(struct terminal *t, struct dw_err *err)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set, blocked;

	*t = (struct terminal){ .signal_fd = -1, .is_tty = isatty(STDIN_FILENO) };
	sigemptyset(&set);
	for (size_t i = 0; i < DW_COUNT(watched); i++)
		sigaddset(&set, watched[i]);
	blocked = set;
	/* A program in the background may not set the terminal; one that was just continued may be there for a moment. */
	sigaddset(&blocked, SIGTTOU);
	if (sigprocmask(SIG_BLOCK, &blocked, &t->signals_before) < 0)
		return dw_err_errno(err, errno, "signals");
	t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signal_fd >= 0 && sigaction(SIGPIPE, &ignore, &t->pipe_before) == 0)
		return 0;
	dw_err_errno(err, errno, "signals");
	if (t->signal_fd >= 0)
		close(t->signal_fd);
	t->signal_fd = -1;
	sigprocmask(SIG_SETMASK, &t->signals_before, NULL);
	return -1;
}

int terminal_raw(struct terminal *t, struct dw_err *err)
{
	if (!t->is_tty || t->raw)
		return 0;
	if (tcgetattr(STDIN_FILENO, &t->before) < 0)
		return dw_err_errno(err, errno, "the terminal");
	struct termios raw = t->before;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return dw_err_errno(err, errno, "the terminal");
	t->raw = true;
	return 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->raw)
		DW_IGNORE(tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before)); /* a terminal that is gone needs nothing */
	t->raw = false;
}

void terminal_close(struct terminal *t)
{
	terminal_restore(t);
	if (t->signal_fd >= 0) {
		close(t->signal_fd);
		DW_IGNORE(sigaction(SIGPIPE, &t->pipe_before, NULL)); /* it was taken from there */
		sigprocmask(SIG_SETMASK, &t->signals_before, NULL);
	}
	t->signal_fd = -1;
}

int terminal_signal(const struct terminal *t)
{
	struct signalfd_siginfo info;

	return read(t->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

void terminal_obey(struct terminal *t, int number)
{
	sigset_t set;

	terminal_restore(t);
	if (number == SIGTSTP) {
		raise(SIGSTOP);
		return;
	}
	signal(number, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, number);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

bool terminal_size(uint16_t *cols, uint16_t *rows)
{
	static const int fds[] = { STDIN_FILENO, STDOUT_FILENO };

	for (size_t i = 0; i < DW_COUNT(fds); i++) {
		struct winsize size;
		if (ioctl(fds[i], TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
			continue;
		*cols = size.ws_col;
		*rows = size.ws_row;
		return true;
	}
	return false;
}
