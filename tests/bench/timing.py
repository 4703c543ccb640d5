"""Times commands in turn on a node: medians of wall and CPU seconds, as JSON. Standard library only."""

import json
import os
import statistics
import sys
import time

commands = json.loads(sys.argv[1])
rounds = int(sys.argv[2])
samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
for turn in range(rounds + 1):
    for name, argv in commands.items():
        begun = time.monotonic()
        pid = os.posix_spawnp(
            argv[0],
            argv,
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
            ],
        )
        _, status, used = os.wait4(pid, 0)
        if turn:  # the first round warms the caches
            samples[name].append((time.monotonic() - begun, used.ru_utime + used.ru_stime))
        if os.waitstatus_to_exitcode(status) not in (0, 1, 2, 4, 6):  # the doctor of a container finds something
            raise SystemExit(f"{name}: ended with {status}")
print(
    json.dumps(
        {
            name: {
                "wall": statistics.median(wall for wall, _ in runs),
                "cpu": statistics.median(cpu for _, cpu in runs),
                "min": min(wall for wall, _ in runs),
                "max": max(wall for wall, _ in runs),
            }
            for name, runs in samples.items()
        }
    )
)
