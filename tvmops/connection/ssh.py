"""A host over ssh: processes, files and tunnels as channels of one session."""

from __future__ import annotations

import contextlib
import re
import select
import shlex
import threading
import time
from collections.abc import Callable
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message
from paramiko.ssh_exception import ChannelException, SSHException

from tvmops.connection.base import CLOSE_GRACE, KILL_GRACE, Deadline, unreachable
from tvmops.connection.dial import Session, dial
from tvmops.connection.process import ShellFiles, StreamProcess
from tvmops.connection.settings import Settings, resolve
from tvmops.connection.tunnel import ChannelTunnel
from tvmops.errors import HostUnreachable
from tvmops.inventory.model import Host

CHANNEL_TIMEOUT = 30.0  # seconds for the server to open a channel
REFUSED_SECONDS = 12.0  # sshd counts a command a moment longer than we do, so a refusal may be a passing one
REFUSED_PAUSE = 0.1
_PID_LINE = re.compile(rb"(?:^|\n)tvmops-pid (\d+)\n")
_PID_SEARCH = 65536  # the first bytes of stderr in which the process id is looked for


class SshProcess(StreamProcess):
    """A command on a channel of its own. Its process id comes as a line on stderr, for kill to use."""

    def __init__(
        self,
        host: Host,
        command: str,
        transport: paramiko.Transport,
        channel: paramiko.Channel,
        kill_group: Callable[[int], None],
    ) -> None:
        super().__init__(host, command)
        self._transport = transport
        self._channel = channel
        self._kill_group = kill_group
        self._pid: int | None = None
        self._killed = False
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        wrapped = f"echo tvmops-pid $$ >&2; {command}"
        try:
            _start(transport, channel, f"exec /bin/sh -c {shlex.quote(wrapped)}")
        except (SSHException, OSError, EOFError) as error:
            raise connection_lost(host, transport) from error

    def descriptor(self) -> int:
        """Can be polled: readable when there is news."""
        return self._channel.fileno()

    def _fill(self, timeout: float) -> bool:
        channel = self._channel
        if self._killed:
            return False
        if self._streams_ended():
            return bool(channel.status_event.wait(timeout))
        if not self._poll.poll(max(0.0, timeout) * 1000):
            return False
        # Until both are empty: while one is being emptied Paramiko may lose the signal that the other has news.
        while channel.recv_ready() or channel.recv_stderr_ready():
            if channel.recv_ready():
                self._out += channel.recv(65536)
            if channel.recv_stderr_ready():
                self._err += channel.recv_stderr(65536)
        if self._pid is None:
            self._take_pid()
        return True

    def take_output(self) -> tuple[bytes, bytes]:
        """As for every process; stderr waits until the process id was found in it."""
        if self._pid is not None or len(self._err) >= _PID_SEARCH or self._streams_ended():
            return super().take_output()
        held, self._err = self._err, bytearray()
        taken = super().take_output()
        self._err = held
        return taken

    def _take_pid(self) -> None:
        match = _PID_LINE.search(self._err, 0, _PID_SEARCH)
        if match:
            self._pid = int(match.group(1))
            # Keep the newline before it: it ends a line of something else.
            start = match.start() + (1 if self._err[match.start() : match.start() + 1] == b"\n" else 0)
            del self._err[start : match.end()]

    def _send(self, data: memoryview, timeout: float) -> int:
        self._channel.settimeout(timeout)
        try:
            sent = self._channel.send(bytes(data))
        except TimeoutError:
            return 0
        except (SSHException, OSError, EOFError) as error:
            if not self._transport.is_active():
                raise connection_lost(self.host, self._transport) from error
            raise BrokenPipeError(str(error)) from error
        if sent == 0:
            self._check_alive()
            raise BrokenPipeError("the command no longer reads its input")
        return sent

    def _streams_ended(self) -> bool:
        channel = self._channel
        over = self._killed or channel.closed or bool(channel.eof_received)
        return over and not channel.recv_ready() and not channel.recv_stderr_ready()

    def _exit_status(self) -> int | None:
        if self._killed:
            return -9
        status = self._channel.exit_status
        # No status while the session is gone says nothing about the command; in a living one a signal ended it.
        known = self._channel.status_event.is_set() and (status >= 0 or self._transport.is_active())
        return status if known else None

    def _check_alive(self) -> None:
        if not self._killed and not self._transport.is_active() and self._channel.exit_status < 0:
            raise connection_lost(self.host, self._transport)

    def close_stdin(self) -> None:
        """End of input."""
        with contextlib.suppress(SSHException, OSError, EOFError):
            self._channel.shutdown_write()

    def running(self) -> bool:
        """Whether it, or something it left behind on its output, still lives."""
        channel = self._channel
        return not (self._killed or channel.closed or (channel.exit_status_ready() and channel.eof_received))

    def kill(self) -> None:
        """End the process group on the host, and the channel."""
        if self.running():
            with contextlib.suppress(Exception):  # the host may be gone, and this must not fail
                self.await_pid(Deadline(CLOSE_GRACE))
                if self._pid is not None:
                    self._kill_group(self._pid)
        self.release()

    def await_pid(self, deadline: Deadline) -> None:
        """Read what has come; a command that has just begun may still have to tell its process id."""
        self._fill(0.0)
        while self._pid is None and self.running() and not deadline.passed():
            self._fill(min(deadline.left(), 0.1))

    def pid(self) -> int | None:
        """Its process id on the host, once known."""
        return self._pid

    def leave(self) -> None:
        """Give up the channel; what runs behind it goes on."""
        self.release()

    def release(self) -> None:
        """Give up the channel."""
        self._killed = self._killed or self.running()
        with contextlib.suppress(Exception):  # as above
            self._channel.close()


class SshConnection(ShellFiles):
    """One ssh session with a host; every process and tunnel is a channel of it."""

    def __init__(self, host: Host, deadline: float = 15.0, settings: Settings | None = None) -> None:
        self.host = host
        self.settings = settings or resolve(host)
        self._session: Session = dial(self.settings, deadline)
        self._transport = self._session.transport
        self._lock = threading.Lock()
        self._processes: list[SshProcess] = []
        self._tunnels: list[ChannelTunnel] = []
        self._closed = False

    def open(self, command: str) -> SshProcess:
        """Start `command` with /bin/sh in a process group of its own (sshd makes one for each channel)."""
        process = SshProcess(self.host, command, self._transport, self._channel(), self._kill_group)
        with self._lock:
            self._processes = [one for one in self._processes if one.running()] + [process]
        return process

    def forward(self, remote_port: int) -> ChannelTunnel:
        """A tunnel to 127.0.0.1:`remote_port` on the host."""
        tunnel = ChannelTunnel(self.host.name, self._transport, remote_port)
        with self._lock:
            self._tunnels.append(tunnel)
        return tunnel

    def close(self) -> None:
        """End tunnels, then processes (end of input first, SIGKILL after a moment), then the session."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            tunnels, processes = self._tunnels, self._processes
        for tunnel in tunnels:
            tunnel.close()
        running = [process for process in processes if process.running()]
        if running and self._transport.is_active():
            self._end(running)
        for process in processes:
            process.release()
        self._session.close()

    def _end(self, running: list[SshProcess]) -> None:
        deadline = Deadline(CLOSE_GRACE)
        for process in running:
            process.close_stdin()
            with contextlib.suppress(Exception):  # a process that is beyond reach must not keep the others
                process.await_pid(deadline)
        groups = [str(process.pid()) for process in running if process.pid() is not None]
        with contextlib.suppress(Exception):  # as above
            self._run_quietly(_kill_script(groups))

    def _kill_group(self, pid: int) -> None:
        self._run_quietly(_kill_script([str(pid)]))

    def _run_quietly(self, script: str) -> None:
        channel = self._channel(CLOSE_GRACE, CLOSE_GRACE)
        try:
            _start(self._transport, channel, f"exec /bin/sh -c {shlex.quote(script)}")
            channel.status_event.wait(CLOSE_GRACE)
        finally:
            channel.close()

    def _channel(self, timeout: float = 0.0, patience: float = REFUSED_SECONDS) -> paramiko.Channel:
        """A new channel within `timeout` seconds (0: CHANNEL_TIMEOUT); a refusal is final after `patience` seconds."""
        timeout = timeout or CHANNEL_TIMEOUT
        refusals = Deadline(patience)
        while True:
            try:
                return self._transport.open_session(timeout=timeout)
            except (SSHException, EOFError, OSError) as error:
                if not self._transport.is_active():
                    raise connection_lost(self.host, self._transport) from error
                if not _refused(error):
                    raise unreachable(self.host, f"went silent: no channel opened within {timeout:.0f} s") from error
                if refusals.passed():
                    raise unreachable(
                        self.host,
                        f"sshd refused another channel: {getattr(error, 'text', '') or 'refused'}",
                        "MaxSessions in its sshd_config limits how many commands may run at a time",
                    ) from error
            time.sleep(REFUSED_PAUSE)


def _refused(error: Exception) -> bool:
    """Whether the server said no. Paramiko gives the reason to one thread only, when several are refused at once."""
    return isinstance(error, ChannelException) or str(error) == "Unable to open channel."


def connection_lost(host: Host, transport: paramiko.Transport) -> HostUnreachable:
    """What to raise when the session is gone."""
    cause = transport.get_exception()
    return unreachable(host, f"the ssh connection was lost{f': {cause}' if cause and str(cause) else ''}")


def _kill_script(groups: list[str]) -> str:
    """SIGTERM, a moment to end what they have started in groups of their own, SIGKILL."""
    # Where the ssh server makes no process group for a command, at least the command itself ends.
    steps = [
        "k() { for p in " + " ".join(groups) + "; do kill -$1 -$p 2>/dev/null || kill -$1 $p 2>/dev/null; done; }",
        "a() { for p in " + " ".join(groups) + "; do kill -0 -$p 2>/dev/null && return 0; done; return 1; }",
        f"k TERM; i=0; while [ $i -lt {KILL_GRACE * 10:.0f} ] && a; do sleep 0.1; i=$((i+1)); done; k KILL",
    ]
    return "; ".join(steps) + "; :"


def _start(transport: Any, channel: paramiko.Channel, command: str) -> None:
    """Ask for `command` to be run without waiting for the answer: output follows at once, a refusal closes the channel.

    Paramiko's exec_command would wait for it, a round trip more, and without a deadline.
    """
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    transport._send_user_message(message)
