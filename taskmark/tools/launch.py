"""Runs one command and sees to it that nothing it starts outlives it.

A script of its own, started by `processes.py` between the worker and the command; only modules of the
interpreter itself, because every subprocess pays for its start. It leads a session; the command leads a
process group in it. It holds one end of a pipe whose other end only the worker has: when that closes,
because the worker wants an end or because the worker is dead (also by SIGKILL), everything ends: SIGTERM,
a grace period, SIGKILL. The same happens to what is left when the command itself has ended.

On Linux it also adopts descendants that leave the group (a daemon's double fork, `setsid`), and the
command dies with it. On other systems what leaves the group is not found.

    launch.py CONTROL,STATUS,DIRECTORY,MEMORY,CPU,FILE,FILES,PROCESSES,WRITTEN,FREE,TOGETHER,NICE GRACE WORD…

Descriptors, bytes, seconds and counts, TOGETHER in milliseconds of CPU; 0 means no limit. The command's
environment comes under numbers (`0` is `PATH=/bin`), so that nothing in it, such as `LD_PRELOAD`, acts on
this process, which no limit holds.

What happened goes to STATUS, one line each: `pid 12`, then `cpu 1500`, `rss 4096` and `written 8192`
(milliseconds, KiB and bytes, of all that has ended), then `exit 3`, `signal 9`, `error 2` (errno of the
start), or `limit` and the name of what was passed.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False  # `typing` would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable

LINUX = sys.platform == "linux"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
RESTORED = (*IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
SET_PARENT_DEATH_SIGNAL = 1
SET_CHILD_SUBREAPER = 36
KILL_SECONDS = 5.0
FIRST_LOOK, LAST_LOOK = 0.02, 1.0
"""Seconds between two looks at what the command uses: at first, and at the longest."""
MUCH = 32 * 1024**2
"""Bytes to disk; who writes less fills none, and who writes more is looked at more often."""
BLOCK = 512
"""Bytes that Linux counts written data in."""
SHORTAGE_SCORE = "500"


class Order:
    """What the command line asks for."""

    def __init__(self, words: list[str]) -> None:
        numbers = [int(number) for number in words[0].split(",")]
        self.control, self.status, self.directory = numbers[:3]
        self.memory, self.cpu, self.file_size, self.open_files = numbers[3:7]
        self.processes, self.written, self.free_disk, self.cpu_together, self.nice = numbers[7:]
        self.grace = float(words[1])
        self.command = words[2:]
        pairs = (pair.partition(b"=") for number, pair in os.environb.items() if number.isdigit())
        self.environment = {name: value for name, _, value in pairs}

    def tell(self, line: str) -> None:
        """Reports to the worker, which may be dead."""
        quietly(os.write, self.status, f"{line}\n".encode())


def quietly(call: Callable[..., object], *arguments: object) -> None:
    """Calls what may fail because the other side is gone by now: a process, or the reader of a pipe."""
    try:  # noqa: SIM105  # contextlib would double the start-up time
        call(*arguments)
    except (ProcessLookupError, PermissionError, BrokenPipeError):
        pass


def main(words: list[str]) -> None:
    """Runs the command until it ends, is to end, or passes a limit."""
    order = Order(words)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if select.select([order.control], [], [], 0)[0]:
        return  # the worker gave up, or died, before anything began
    os.fchdir(order.directory)
    control_process(SET_CHILD_SUBREAPER, 1)
    wake = wake_on_child()
    try:
        command = os.fork()
    except OSError as error:
        order.tell(f"error {error.errno}")
        return
    if command == 0:
        become(order)
    # Parent and child both do it; who is late is refused.
    quietly(os.setpgid, command, command)
    order.tell(f"pid {command}")
    let_go_of_streams()
    family = Family(command)
    ending = watch(order, family, wake)
    # What passes a limit is not asked: a fork bomb would use the time.
    family.wind_down(0 if ending.startswith("limit") else order.grace)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    largest = used.ru_maxrss if LINUX else used.ru_maxrss // 1024  # bytes on macOS
    order.tell(f"cpu {round((used.ru_utime + used.ru_stime) * 1000)}\nrss {largest}")
    if LINUX:
        order.tell(f"written {used.ru_oublock * BLOCK}")
    order.tell(ending or outcome(family.status))


def control_process(option: int, value: int) -> None:
    """Calls Linux's prctl; elsewhere does nothing."""
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def wake_on_child() -> int:
    """Returns a descriptor that can be read once a child has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def let_go_of_streams() -> None:
    """Leaves the command the only holder of its streams, so that their ends are seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)


def become(order: Order) -> None:
    """Turns this process into the command; never returns."""
    try:
        quietly(os.setpgid, 0, 0)
        control_process(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in RESTORED:
            signal.signal(number, signal.SIG_DFL)
        for descriptor in (order.control, order.status, order.directory):
            os.set_inheritable(descriptor, False)
        limit(order)
        if order.nice:
            os.nice(order.nice)
        go_first_on_shortage()
        os.execvpe(order.command[0], order.command, order.environment)  # noqa: S606  # no shell is the point
    except OSError as error:
        order.tell(f"error {error.errno}")
    os._exit(127)


def limit(order: Order) -> None:
    """Sets the limits that the system enforces for each process by itself."""
    # RLIMIT_AS would refuse the large reservations that never become memory, as of Node and the JVM.
    memory = resource.RLIMIT_DATA if LINUX else resource.RLIMIT_AS
    limits = (
        (memory, order.memory),
        (resource.RLIMIT_CPU, order.cpu),
        (resource.RLIMIT_FSIZE, order.file_size),
        (resource.RLIMIT_NOFILE, order.open_files),
    )
    for kind, value in limits:
        usual, highest = resource.getrlimit(kind)
        if value and (highest == resource.RLIM_INFINITY or value < highest):
            first = value if usual == resource.RLIM_INFINITY else min(usual, value)
            # A second more for the hard limit: the command gets SIGXCPU first, which names the reason.
            resource.setrlimit(kind, (first, value + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def go_first_on_shortage() -> None:
    """Lets Linux end the command rather than the worker or a database, should memory run out altogether."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(SHORTAGE_SCORE)
    except OSError:
        pass  # another system, or it is to go before others already


def watch(order: Order, family: Family, wake: int) -> str:
    """Returns when the command has ended (nothing), or why it has to end."""
    pause = FIRST_LOOK
    while family.status is None:
        ready = select.select([order.control, wake], [], [], pause)[0]
        if order.control in ready:
            return "cancelled"
        if wake in ready:
            os.read(wake, 4096)
        family.reap()
        passed = family.passed_limit(order)
        if passed:
            return f"limit {passed}"
        # Looking costs time, and what explodes does so at once: look ever less often.
        pause = FIRST_LOOK if family.writes_much() else min(pause * 1.5, LAST_LOOK)
    return ""


def outcome(status: int | None) -> str:
    """Returns the line for how the command ended."""
    code = os.waitstatus_to_exitcode(status or 0)
    return f"exit {code}" if code >= 0 else f"signal {-code}"


class Family:
    """The command and everything it started."""

    def __init__(self, command: int) -> None:
        self.command = command
        self.status: int | None = None
        """Of the command, once it has ended."""
        self.empty = False
        self.written = self.written_before = 0
        """To disk by all of them, at the last look and at the one before."""

    def reap(self) -> None:
        """Collects what has ended, adopted processes too."""
        while not self.empty:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.empty = True
                return
            if process == 0:
                return
            if process == self.command:
                self.status = status

    def members(self, most: int = 0) -> list[int]:
        """Returns the process ids of all that live; none where the system does not tell.

        With `most`, stops looking once there are more.
        """
        found: list[int] = []
        pending = [os.getpid()]
        while pending and (not most or len(found) <= most):
            children = children_of(pending.pop())
            found.extend(children)
            pending.extend(children)
        return found

    def passed_limit(self, order: Order) -> str:
        """Returns which limit all of them together have passed, or nothing."""
        members = self.members(order.processes)
        if order.processes and len(members) > order.processes:
            return "processes"
        if order.memory and memory_of(members) > order.memory:
            return "memory"
        if order.cpu_together and 1000 * (own_cpu() + sum(map(cpu_of, members))) > order.cpu_together:
            return "cpu_together"
        # What has ended counts as the launcher's own.
        self.written_before, self.written = self.written, sum(map(written_by, (os.getpid(), *members)))
        if order.written and self.written > order.written:
            return "written"
        if order.free_disk and self.written > MUCH and free_on_disk(order.directory) < order.free_disk:
            return "free_disk"
        return ""

    def writes_much(self) -> bool:
        """Whether they could fill a disk before the next look."""
        return self.written - self.written_before > MUCH

    def signal(self, number: int) -> None:
        """Signals the group at once, then those who left it."""
        quietly(os.killpg, self.command, number)
        for member in self.members():
            quietly(os.kill, member, number)

    def wind_down(self, grace: float) -> None:
        """Ends all of them: asks and waits for `grace` seconds, if any, then kills."""
        self.reap()
        if self.empty and LINUX:
            return
        if grace:
            self.signal(signal.SIGTERM)
            self.wait(grace)
        deadline = time.monotonic() + KILL_SECONDS
        while True:
            self.signal(signal.SIGKILL)
            self.wait(0.05)
            if self.empty or time.monotonic() > deadline:
                return

    def wait(self, seconds: float) -> None:
        """Waits until nobody is left, at most so long."""
        deadline = time.monotonic() + seconds
        self.reap()
        while not self.empty and time.monotonic() < deadline:
            time.sleep(0.005)
            self.reap()


def children_of(process: int) -> list[int]:
    """Returns a process's children."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as file:
                found.extend(int(child) for child in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it has just ended, or there is no such file system
    return found


def memory_of(processes: list[int]) -> int:
    """Returns the bytes that processes hold: each its own, and the largest that is there to be shared.

    The sum of what is shared would count one piece of memory as often as there are processes that have it.
    """
    return sum(map(resident, processes)) + max(map(shared_memory, processes), default=0)


def shared_memory(process: int) -> int:
    """Returns the bytes of memory a process holds that others can hold as well, without those of files."""
    return 1024 * number_after("RssShmem:", f"/proc/{process}/status")


def own_cpu() -> float:
    """Returns the seconds of CPU that all have used together that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_of(process: int) -> float:
    """Returns the seconds of CPU that a process, and those it has waited for, have used."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            # The name, in brackets, may hold anything.
            numbers = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, numbers[11:15])) / TICKS


def written_by(process: int) -> int:
    """Returns the bytes that a process, and those it has waited for, have written to disks."""
    return number_after("write_bytes:", f"/proc/{process}/io")


def number_after(name: str, file: str) -> int:
    """Returns the number on the line that begins with the name, 0 if there is none."""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            found = next((line.split()[1] for line in lines if line.startswith(name)), "0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return int(found)


def free_on_disk(directory: int) -> int:
    """Returns the bytes that are free where the directory is."""
    disk = os.fstatvfs(directory)
    return disk.f_bavail * disk.f_frsize


def resident(process: int) -> int:
    """Returns the bytes of memory a process holds that are its own."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            sizes = file.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(sizes[1]) - int(sizes[2])) * PAGE


if __name__ == "__main__":
    main(sys.argv[1:])
