"""The broker under test: the program, started here with a configuration of its own, or one that runs already."""

import asyncio
import pathlib
import signal
import subprocess
import tempfile
import urllib.request

PATIENCE_S = 30
USER = ("alice", "correct horse")
CAUGHT_PANICS = "heraldmq_caught_panics_total"

CONFIGURATION = """
[listeners.mqtt]
addr = "127.0.0.1:0"
[listeners.mqtts]
addr = "127.0.0.1:0"
certificate = "certs/server.pem"
key = "certs/server.key"
[listeners.ws]
addr = "127.0.0.1:0"
[listeners.wss]
addr = "127.0.0.1:0"
certificate = "certs/server.pem"
key = "certs/server.key"
[listeners.http]
addr = "127.0.0.1:0"
[auth]
allow_anonymous = true
password_file = "passwords"
[log]
level = "warn"
"""

# What the program calls its listeners.
LISTENERS = {"mqtt": "tcp", "mqtts": "tls", "ws": "ws", "wss": "wss", "http": "http"}


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class External:
    """One that runs already and stays as it is."""

    def __init__(self, addresses, ca, user):
        self.addresses = dict(part.split("=", 1) for part in addresses.split(","))
        self.addresses = {transport: address(text) for transport, text in self.addresses.items()}
        self.ca = ca
        self.user = tuple(user.split(":", 1)) if user else None

    async def finish(self):
        return []


class Program:
    """The program, in a directory of its own, on ports of its own."""

    @classmethod
    async def start(cls, program):
        self = cls()
        self.directory = tempfile.TemporaryDirectory(prefix="heraldmq-clients-")
        place = pathlib.Path(self.directory.name)
        program = str(pathlib.Path(program).resolve())
        subprocess.run([program, "certs", "certs"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, "passwd", "passwords", USER[0]], cwd=place, check=True, text=True,
                       input=USER[1] + "\n", stdout=subprocess.DEVNULL)
        (place / "heraldmq.toml").write_text(CONFIGURATION)
        self.ca, self.user, self.addresses = str(place / "certs/ca.pem"), USER, {}
        self.log = (place / "log").open("w+")
        self.process = await asyncio.create_subprocess_exec(
            program, "--config", "heraldmq.toml", cwd=place, stdout=asyncio.subprocess.PIPE, stderr=self.log)
        try:
            await asyncio.wait_for(self.read_addresses(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.process.kill()
        if len(self.addresses) < len(LISTENERS):
            await self.process.wait()
            raise SystemExit(f"the broker did not start, exit code {self.process.returncode}:\n{self.said()}")
        return self

    async def read_addresses(self):
        """The announcement: a line for each listener, and a last one that names Ctrl-C."""
        while line := (await self.process.stdout.readline()).decode():
            words = line.split()
            if len(words) == 2 and words[0] in LISTENERS:
                self.addresses[LISTENERS[words[0]]] = address(words[1])
            if line.startswith("Ctrl-C"):
                return

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()

    def caught_panics(self):
        host, port = self.addresses["http"]
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE_S) as page:
            lines = page.read().decode().splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith(CAUGHT_PANICS)]
        return values[0] if values else None

    async def finish(self):
        """The last checks: (name, what is wrong or None)."""
        checks = []
        try:
            panics = await asyncio.to_thread(self.caught_panics)
            checks.append(("no panic was caught", None if panics == 0 else f"{CAUGHT_PANICS} {panics}"))
        except OSError as error:
            checks.append(("no panic was caught", f"/metrics cannot be read: {error}"))
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
            wrong = None if code == 0 else f"exit code {code}"
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()
            wrong = f"still there {PATIENCE_S} s after SIGTERM"
        checks.append(("SIGTERM ends the broker with exit code 0", wrong))
        if any(wrong for _, wrong in checks):
            print("the broker's log:\n" + self.said())
        self.log.close()
        self.directory.cleanup()
        return checks
