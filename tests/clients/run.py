"""Real MQTT clients against the real program, each over every transport and protocol it speaks.

    run.py --program target/debug/heraldmq --installed DIR --rumqttc target/debug/examples/with_rumqttc
    run.py --broker tcp=127.0.0.1:1883,tls=127.0.0.1:8883 --ca ca.pem --user alice:secret --installed DIR …

The first starts the program on ports and with certificates of its own, and ends it; `make test-clients` does that.
The second checks a broker that runs already: of HeraldMQ, or another one to learn whether a check is right.
--only WORDS runs the checks whose line has all these words, such as `--only "gmqtt 5.0 tls"`.

DIR is what `.ci/clients` prints. Each check is a line; the last line counts them.
"""

import argparse
import asyncio
import os
import pathlib
import sys
import time

from broker import External, Program
from remote import Failed, Refused, Remote
from scenarios import DETAILS, ONLY_5, ONLY_TCP, SCENARIOS
from table import CLIENTS, PROTOCOLS, TRANSPORTS

# Longer than any wait inside a check, which says better what was waited for.
CHECK_S = 40


class Bench:
    """One scenario's place: its client, its route to the broker, topics and Client Identifiers of its own."""

    def __init__(self, route, scenario, others):
        self.client, self.version, self.transport = route.client, route.version, route.transport
        self.broker, self.remote, self.start_remote = route.broker, route.remote, route.start_remote
        # Driver processes of this scenario alone, kept where they are ended whatever happens.
        self.others = others
        self.own = f"{route.client.name}-{route.version}-{route.transport}-{scenario}".replace(" ", "-")

    def topic(self, rest):
        return f"clients/{self.own}/{rest}"

    def client_id(self, name):
        return f"{self.own}-{name}"

    async def connect(self, name, remote=None, **wishes):
        host, port = self.broker.addresses[self.transport]
        request = {"host": host, "port": port, "transport": self.transport, "path": "/mqtt", "ca": self.broker.ca,
                   "version": self.version, "client_id": self.client_id(name), "clean": True, "expiry": 0,
                   "keep_alive": 60}
        return await (remote or self.remote).connect(name, **{**request, **wishes})

    async def another_process(self):
        self.others.append(await self.start_remote())
        return self.others[-1]

    def check_session_present(self, peer, wanted):
        if self.client.offers("session present") and peer.session_present is not wanted:
            raise Failed(f"Session Present is {peer.session_present}, not {wanted}")

    async def close(self):
        for other in self.others:
            if other.process.returncode is None:
                await other.kill()
        await self.remote.leave()


class Route:
    """One client, protocol and transport, with its driver."""

    def __init__(self, client, version, transport, arguments, broker):
        self.client, self.version, self.transport, self.broker = client, version, transport, broker
        self.command = [part.format(python=arguments.installed + "/python/bin/python", rumqttc=arguments.rumqttc)
                        for part in client.command]
        self.environment = {**os.environ, "NODE_PATH": arguments.installed + "/node_modules", "PYTHONUTF8": "1",
                            "RUST_BACKTRACE": "0"}
        self.remote = None

    def line(self, check):
        return f"{self.client.name:<10} {PROTOCOLS[self.version]:<6} {self.transport:<4} {check}"

    def limit(self, *words):
        return next((self.client.limits[word] for word in words if word in self.client.limits), None)

    async def start_remote(self):
        return await Remote.start(self.command, self.environment)

    async def check(self, name, scenario):
        """What is wrong, or None."""
        others = []
        try:
            self.remote = self.remote or await self.start_remote()
            bench = Bench(self, name, others)
            await asyncio.wait_for(scenario(bench), CHECK_S)
            await bench.close()
            return None
        except asyncio.TimeoutError:
            wrong = f"not done in {CHECK_S} s"
        except (Failed, Refused) as error:
            wrong = str(error)
        except OSError as error:
            wrong = f"the driver: {error}"
        # Whatever state it is in, the next check shall not suffer from it.
        for remote in [*others, self.remote]:
            if remote and not remote.errors.closed and (said := await remote.kill()):
                wrong += "".join(f"\n      | {line}" for line in said.splitlines()[-12:])
        self.remote = None
        return wrong


class Report:
    def __init__(self):
        self.passed, self.failed, self.not_offered = 0, [], []

    def judged(self, line, wrong, seconds=None):
        took = f" ({seconds:.1f} s)" if seconds is not None and seconds >= 3 else ""
        if wrong is None:
            self.passed += 1
            print(f"ok    {line}{took}", flush=True)
        else:
            self.failed.append(f"FAIL  {line}: {wrong}")
            print(self.failed[-1], flush=True)

    def cannot(self, line, why):
        self.not_offered.append(line)
        print(f"--    {line}: not offered by this client: {why}", flush=True)

    def close(self):
        print(f"\n{len(self.not_offered)} checks are not offered by the client they are for.")
        if self.failed:
            print("\n".join(["Failed:", *self.failed]))
        print(f"{self.passed} passed, {len(self.failed)} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


async def run_route(route, wanted, report):
    for name, scenario in SCENARIOS.items():
        line = route.line(name)
        elsewhere = name in ONLY_5 and route.version != 5 or name in ONLY_TCP and route.transport != "tcp"
        without_user = name == "user and password" and not route.broker.user
        if elsewhere or without_user or not wanted(line):
            continue
        if why := route.limit(name, f"{PROTOCOLS[route.version]} {name}"):
            report.cannot(line, why)
            continue
        begun = time.monotonic()
        wrong = await route.check(name, scenario)
        report.judged(line, wrong, time.monotonic() - begun)
    if route.remote:
        await route.remote.kill()


async def run_client(client, arguments, broker, wanted, report):
    """One client after its routes; the clients run beside each other."""
    for version in PROTOCOLS:
        for transport in TRANSPORTS:
            if transport not in broker.addresses:
                continue
            route = Route(client, version, transport, arguments, broker)
            if why := route.limit(PROTOCOLS[version], transport):
                if wanted(route.line("")):
                    report.cannot(route.line("everything"), why)
                continue
            await run_route(route, wanted, report)
    for detail, why in client.limits.items():
        if detail in DETAILS and wanted(f"{client.name:<10} {detail}"):
            report.cannot(f"{client.name:<10} {detail}", why)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/heraldmq", help="the broker to start")
    parser.add_argument("--broker", metavar="TRANSPORT=HOST:PORT,…", help="a broker that runs already")
    parser.add_argument("--ca", default="", help="PEM file of the authority of that broker's certificate")
    parser.add_argument("--user", metavar="NAME:PASSWORD", help="a user it has, besides anonymous ones")
    parser.add_argument("--installed", required=True, help="where the clients are installed")
    parser.add_argument("--rumqttc", default="target/debug/examples/with_rumqttc", help="the driver with rumqttc")
    parser.add_argument("--only", default="", metavar="WORDS", help="run the checks whose line has all of these")
    return parser.parse_args()


async def main(arguments):
    words = arguments.only.split()

    def wanted(line):
        return all(word in line for word in words)

    for driver in [arguments.rumqttc, arguments.installed + "/python/bin/python"]:
        if not pathlib.Path(driver).exists():
            raise SystemExit(f"missing: {driver}; `make test-clients` makes it")
    report = Report()
    if arguments.broker:
        broker = External(arguments.broker, arguments.ca, arguments.user)
    else:
        broker = await Program.start(arguments.program)
    try:
        await asyncio.gather(*(run_client(client, arguments, broker, wanted, report) for client in CLIENTS))
    finally:
        checks = await broker.finish()
    for name, wrong in checks:
        report.judged(name, wrong)
    return report.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
