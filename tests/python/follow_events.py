"""Follows the events of a cluster as a program outside of it: `follow_events.py NATS_URL CLUSTER NUMBER`.

Prints so many events of snapshots, one JSON object a line, and remembers under the name `example` how far it came: run it
again, and it goes on there.
"""

import asyncio
import json
import sys

import nats
from nats.errors import TimeoutError
from nats.js.api import ConsumerConfig, DeliverPolicy


async def follow(url, cluster, number):
    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    events = await jetstream.pull_subscribe(
        f"elanus.{cluster}.snapshot.*",
        durable="example",
        stream=f"elanus-{cluster}",
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    seen = set()
    while len(seen) < number:
        try:
            messages = await events.fetch(batch=min(10, number - len(seen)), timeout=30)
        except TimeoutError:
            continue
        for message in messages:
            # An event may come twice, also long after: its id is the same.
            if message.headers["Nats-Msg-Id"] not in seen:
                seen.add(message.headers["Nats-Msg-Id"])
                *_, kind, subject = message.subject.split(".")
                print(json.dumps({"kind": kind, "id": int(subject), **json.loads(message.data)}), flush=True)
            await message.ack()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1], sys.argv[2], int(sys.argv[3])))
