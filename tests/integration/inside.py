# SPDX-License-Identifier: Apache-2.0
"""Runs inside a sandbox and prints one JSON object of what a program there is, sees and may do. Standard library only.

Each forbidden call is tried for real. What must not be done twice is done in a child.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NR = {  # x86_64
    "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308, "ptrace": 101, "io_uring_setup": 425,
    "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "clone": 56,
    "clone3": 435, "kexec_load": 246, "init_module": 175, "finit_module": 313, "delete_module": 176, "reboot": 169,
    "open_by_handle_at": 304, "process_vm_readv": 310, "pidfd_getfd": 438, "pidfd_open": 434, "swapon": 167,
    "settimeofday": 164, "sethostname": 170, "syslog": 103, "fsopen": 430, "open_tree": 428, "move_mount": 429,
    "iopl": 172, "acct": 163, "quotactl": 179, "fanotify_init": 300, "kcmp": 312, "chroot": 161,
}
NAMESPACES = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
              "pid": 0x20000000, "net": 0x40000000, "time": 0x80}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def call(name, *arguments):
    """The name of the error, or "ok"."""
    values = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(NR.get(name, name)), *values)
    if result < 0:
        return name_of(ctypes.get_errno())
    if name in ("clone", "clone3") and result == 0:
        os._exit(0)  # the child of a clone that worked
    return "ok"


def system_calls():
    done = {
        "mount": call("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
        "mount cgroup2": call("mount", b"none", b"/mnt", b"cgroup2", 0, 0),
        "bind": call("mount", b"/", b"/mnt", 0, 0x1000, 0),
        "remount /usr": call("mount", b"none", b"/usr", 0, 0x20, 0),
        "umount /proc": call("umount2", b"/proc", 2),
        "umount /proc/sys": call("umount2", b"/proc/sys", 2),
        "pivot_root": call("pivot_root", b".", b"."),
        "fsopen": call("fsopen", b"tmpfs", 0),
        "open_tree": call("open_tree", -100, b"/", 1),
        "move_mount": call("move_mount", -100, b"/proc", -100, b"/mnt", 0),
        "setns": call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0),
        "ptrace attach 1": call("ptrace", 16, 1, 0, 0),
        "ptrace seize 1": call("ptrace", 0x4206, 1, 0, 0),
        "process_vm_readv 1": call("process_vm_readv", 1, 0, 0, 0, 0, 0),
        "io_uring_setup": call("io_uring_setup", 1, bytes(120)),
        "keyctl": call("keyctl", 0, -3, 1),
        "add_key": call("add_key", b"user", b"x", b"y", 1, -3),
        "request_key": call("request_key", b"user", b"x", 0, -3),
        "bpf": call("bpf", 5, bytes(120), 120),
        "perf_event_open": call("perf_event_open", bytes(120), 0, -1, -1, 0),
        "userfaultfd": call("userfaultfd", 1),
        "clone3": call("clone3", (0x10000000).to_bytes(8, "little") + bytes(56), 64),
        "kexec_load": call("kexec_load", 0, 0, 0, 0),
        "init_module": call("init_module", b"", 0, b""),
        "finit_module": call("finit_module", 0, b"", 0),
        "delete_module": call("delete_module", b"x", 0),
        "reboot": call("reboot", 0, 0, 0, 0),
        "open_by_handle_at": call("open_by_handle_at", -100, bytes(64), 0),
        "swapon": call("swapon", b"/tmp/x", 0),
        "settimeofday": call("settimeofday", 0, 0),
        "sethostname": call("sethostname", b"x", 1),
        "syslog": call("syslog", 3, bytes(64), 10),
        "iopl": call("iopl", 3),
        "acct": call("acct", 0),
        "fanotify_init": call("fanotify_init", 0, 0),
        "kcmp": call("kcmp", 1, os.getpid(), 0, 0, 0),
        "pidfd_getfd": call("pidfd_getfd", 0, 0, 0),
        "x32 getpid": call(0x40000000 + 39),
    }
    for name, flag in NAMESPACES.items():
        done["unshare " + name] = call("unshare", flag)
        done["clone " + name] = call("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
    return done


def open_socket(*arguments):
    try:
        socket.socket(*arguments).close()
        return "ok"
    except OSError as e:
        return name_of(e.errno)


def sockets():
    return {
        "packet": open_socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300),
        "packet dgram": open_socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0x300),
        "vsock": open_socket(40, socket.SOCK_STREAM),
        "alg": open_socket(38, socket.SOCK_SEQPACKET),
        "xdp": open_socket(44, socket.SOCK_RAW),
        "key": open_socket(15, socket.SOCK_RAW, 2),
        "netfilter": open_socket(socket.AF_NETLINK, socket.SOCK_RAW, 12),
        "audit": open_socket(socket.AF_NETLINK, socket.SOCK_RAW, 9),
        "raw": open_socket(socket.AF_INET, socket.SOCK_RAW, 255),
        "raw6": open_socket(socket.AF_INET6, socket.SOCK_RAW, 255),
    }


def int80():
    """getpid of the 32-bit table, in a child, since a kernel without it ends the caller."""
    code = mmap.mmap(-1, 4096, prot=7)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    child = os.fork()
    if child == 0:
        os._exit(1 if function() > 0 else 0)
    return "answered" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1 else "refused"


def attempt(function, *arguments):
    try:
        function(*arguments)
        return "ok"
    except OSError as e:
        return name_of(e.errno)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data=b"1"):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def status():
    with open("/proc/self/status") as f:
        return dict(line.strip().split(":\t", 1) for line in f if ":\t" in line)


def descriptors():
    found = []
    for fd in range(4096):
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
            found.append(fd)
        except OSError:
            pass
    return found


def main():
    report = {"descriptors": descriptors()}  # first, before anything opens one
    report.update(
        uid=os.getuid(), status=status(), environment=dict(os.environ), hostname=platform.node(),
        uid_map=read("/proc/self/uid_map").decode().split(), gid_map=read("/proc/self/gid_map").decode().split(),
        setgroups=read("/proc/self/setgroups").decode().strip(),
        calls=system_calls(), sockets=sockets(), int80=int80(),
        pid1={name: attempt(read, "/proc/1/" + name) for name in ("environ", "mem", "maps", "auxv", "stack", "syscall")},
        pid1_links={name: attempt(os.readlink, "/proc/1/" + name) for name in ("root", "cwd", "exe")},
        # root may count them (they are a root's), but not follow them.
        pid1_fds=sorted({attempt(do, "/proc/1/fd/%d" % fd) for fd in range(8) for do in (os.readlink, read)}),
        proc_writes={path: attempt(write, "/proc/" + path) for path in (
            "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/net/ipv4/ip_forward",
            "sys/net/ipv6/conf/all/accept_ra", "sys/vm/drop_caches", "sys/kernel/ns_last_pid", "sysrq-trigger",
            "irq/default_smp_affinity", "self/uid_map")},
        masked={name: len(read("/proc/" + name)) for name in ("kallsyms", "keys", "timer_list", "cmdline", "interrupts",
                                                              "iomem", "slabinfo", "config.gz")
                if os.path.exists("/proc/" + name)},
        devices=sorted(os.listdir("/dev")),
        absent={path: os.path.exists(path) for path in ("/dev/kvm", "/dev/mem", "/dev/net/tun", "/dev/fuse", "/dev/kmsg",
                                                        "/proc/kcore", "/run/docker.sock", "/sys/fs/cgroup/pids")},
        sys=os.listdir("/sys"),
        mknod={kind: attempt(os.mknod, "/tmp/node-" + kind + str(os.getuid()), mode | 0o666, os.makedev(1, 1))
               for kind, mode in (("char", 0o020000), ("block", 0o060000))},
        mountinfo=read("/proc/self/mountinfo").decode(),
        cgroup=read("/proc/self/cgroup").decode(),
    )
    json.dump(report, sys.stdout)


main()
