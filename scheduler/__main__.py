"""`python -m scheduler`: several may run; a Lease elects the one that acts."""

from __future__ import annotations

import asyncio

from client.api import Api
from client.events import EventRecorder
from client.leader import LeaderElector
from client.transport import TLS
from component import Process, client_options, leader_options, main, option
from scheduler.scheduler import Scheduler


async def run(process: Process) -> None:
    options = process.options
    tls = TLS(ca=options.ca_file, cert=options.cert_file, key=options.key_file)
    async with Api.connect(options.server, tls=tls) as api:
        recorder = EventRecorder(api, options.scheduler_name)
        scheduler = Scheduler(api, recorder, name=options.scheduler_name)
        process.ready_check("informers", lambda: "" if scheduler.has_synced else "informers have not synced yet")
        async with asyncio.TaskGroup() as tasks:
            # Caches are warm before this replica leads, so that taking over takes no time.
            tasks.create_task(scheduler.factory.run())
            if options.leader_elect:
                elector = LeaderElector(
                    api,
                    "kube-scheduler",
                    lease_duration=options.leader_elect_lease_duration,
                    renew_deadline=options.leader_elect_renew_deadline,
                    retry_period=options.leader_elect_retry_period,
                    recorder=recorder,
                )
                await elector.run(scheduler.run)
            else:
                await scheduler.run()


if __name__ == "__main__":
    main(
        "scheduler",
        run,
        [
            *client_options(),
            option("--scheduler-name", default="default-scheduler", help="pods with this schedulerName are ours"),
            *leader_options("kube-scheduler"),
        ],
        health_port=10259,
        help="Decides which node each pod runs on.",
    )
