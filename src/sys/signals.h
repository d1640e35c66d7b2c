/* SPDX-License-Identifier: Apache-2.0 */
/* Signal dispositions as a fresh program should find them. */
#pragma once

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DW_KERNEL_NSIG 64

/*
 * Sets every signal to its default action. By the system call itself: glibc refuses its two internal signals (32, 33), and whoever started us may
 * have left just these ignored; an ignored signal is inherited through exec (signal(7)).
 */
static inline void dw_signals_default(void)
{
	/* The kernel's struct sigaction: handler, flags, restorer, mask. All zero is SIG_DFL with nothing set. */
	static const unsigned long by_default[4];
	for (int sig = 1; sig <= DW_KERNEL_NSIG; sig++)
		syscall(SYS_rt_sigaction, sig, by_default, NULL, sizeof(unsigned long));
}
