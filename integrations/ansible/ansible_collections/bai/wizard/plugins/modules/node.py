#!/usr/bin/python
"""Prepare a node with the headless command of the wizard installed on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Prepares a node for Backend.AI with bai-wizard
description:
  - Passes the answers to C(bai-wizard --headless -) on standard input; they do not appear in arguments or logs.
  - In check mode, it only plans. With C(--diff), it shows what the wizard would change or has changed.
  - The run belongs to the node, not to the connection. A lost connection ends the task, not the run.
options:
  state:
    description:
      - V(prepared) applies the answers and waits; V(started) starts a run and returns its id immediately.
      - V(watched) returns the steps that the run O(run) has finished so far; see O(wait).
      - V(detected) only returns what was detected on the node, as the fact C(bai_wizard). V(undone) undoes O(run).
    choices: [prepared, started, watched, detected, undone]
    default: prepared
    type: str
  answers:
    description: The answers, as TOML. Required for V(prepared) and V(started).
    type: str
  only:
    description: Apply only these pages.
    type: list
    elements: str
    default: []
  skip:
    description: Exclude these pages.
    type: list
    elements: str
    default: []
  allow_interrupts:
    description:
      - Kinds of interruptions to allow (docker.restart, gpu.reload, umount).
      - This agrees to what the plan would interrupt at the time it is made. If something else has been started on the
        node since, the run fails with 4 before anything is interrupted.
    type: list
    elements: str
    default: []
  report:
    description: Path on the node for the handover report, ending in .md or .json.
    type: path
  run:
    description: Id of a run, for V(watched) and V(undone); empty means the newest.
    type: str
    default: ""
  wait:
    description: With V(watched), the maximum number of seconds to wait until more than O(after) steps have finished.
    type: int
    default: 0
  after:
    description: With V(watched), the number of finished steps that are already known.
    type: int
    default: 0
  program:
    description: Path of the wizard on the node.
    type: path
    default: /usr/local/bin/bai-wizard
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: [The bai-wizard makers]
"""

EXAMPLES = r"""
- name: Prepare the node
  bai.wizard.node:
    answers: "{{ lookup('file', 'answers.toml') }}"

- name: Detect the node, as ansible_facts.bai_wizard
  bai.wizard.node:
    state: detected

- name: Start a long run, then check it every ten seconds
  bai.wizard.node:
    state: started
    answers: "{{ lookup('file', 'answers.toml') }}"
  register: started
- bai.wizard.node:
    state: watched
    run: "{{ started.run }}"
  register: watched
  until: watched.ended
  retries: 360
  delay: 10
  when: started.run != ""
"""

RETURN = r"""
run: {description: Id of the run; empty if there was nothing to do., returned: always, type: str}
code: {description: The wizard's exit code., returned: always, type: int}
steps: {description: Finished steps with their outcomes., returned: after a run and for watched, type: list}
reboot: {description: Steps that take effect after a reboot., returned: after a run, type: list}
next_login: {description: Steps that take effect at the next login., returned: after a run, type: list}
ended: {description: Whether the run has ended., returned: for watched, type: bool}
progress: {description: The last message of the run., returned: while it is in progress, type: str}
told: {description: Messages about the steps after O(after)., returned: for watched, type: list}
ansible_facts: {description: What was detected, by page, as bai_wizard., returned: for detected, type: dict}
"""

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

# Exit codes of the wizard that are not a failure of the task: success, reboot needed, only optional steps failed.
GOOD = (0, 5, 6)
CHANGES = 7
# Failure messages contain at most this much of the wizard's output, from its end.
MAX_OUTPUT = 4000
# Seconds between two checks of a run.
PAUSE = 2


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {
                "default": "prepared",
                "choices": ["prepared", "started", "watched", "detected", "undone"],
            },
            "answers": {"no_log": True},
            "only": {"type": "list", "elements": "str", "default": []},
            "skip": {"type": "list", "elements": "str", "default": []},
            "allow_interrupts": {"type": "list", "elements": "str", "default": []},
            "report": {"type": "path"},
            "run": {"default": ""},
            "wait": {"type": "int", "default": 0},
            "after": {"type": "int", "default": 0},
            "program": {"type": "path", "default": "/usr/local/bin/bai-wizard"},
        },
        required_if=[("state", "prepared", ["answers"]), ("state", "started", ["answers"])],
        supports_check_mode=True,
    )
    program = module.params["program"]
    if not os.access(program, os.X_OK):
        module.fail_json(msg=f"{program} does not exist on this node; the role bai.wizard.install installs it")
    actions = {"prepared": prepare, "started": start, "watched": watch, "detected": detect, "undone": undo}
    actions[module.params["state"]](module)


def prepare(module):
    code, events, output = headless(module, plan=module.check_mode)
    plan = last_event(events, "plan")
    if module.check_mode:
        finish(module, code, output, changed=code == CHANGES, good=(0, 6, CHANGES), run="", diff=diff_of(plan))
    summary = last_event(events, "summary")
    finish(
        module,
        code,
        output,
        changed=summary.get("counts", {}).get("changed", 0) > 0,
        run=run_id(events),
        diff=diff_of(plan),
        **summary_values(summary),
    )


def start(module):
    """Start the run and end its front end once the run id is known: the run does not depend on this task."""
    if module.check_mode:
        prepare(module)
    import subprocess

    argv = [*command(module), "--json", "--headless", "-", *choices(module)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as child:
        child.stdin.write(module.params["answers"].encode())
        child.stdin.close()
        events = []
        for line in child.stdout:
            events += parsed(line.decode(errors="replace"))
            if events and run_id(events):
                # An interrupt would stop the run, so the front end is killed instead.
                child.kill()
                module.exit_json(changed=True, run=run_id(events), code=0, **diffed(module, events))
        output = child.stderr.read().decode(errors="replace")
        code = child.wait()
    summary = last_event(events, "summary")
    finish(
        module,
        code,
        output,
        changed=False,
        run="",
        diff=diff_of(last_event(events, "plan")),
        **summary_values(summary),
    )


def watch(module):
    """Return what the run has written so far; wait for more only if requested."""
    end = time.monotonic() + module.params["wait"]
    while True:
        run = find_run(module)
        events = events_of(run["run"])
        steps = [each for each in events if each.get("kind") == "finished" and each.get("outcome")]
        if run["state"] != "running" or len(steps) > module.params["after"] or time.monotonic() >= end:
            break
        time.sleep(PAUSE)
    if run["state"] == "interrupted":
        message = f"the run was interrupted; resume it with: bai-wizard resume {run['run']}"
        module.fail_json(msg=message, run=run["run"], ended=True)
    told = [f"{each['step']}: {each['outcome']}" for each in steps[module.params["after"] :]]
    if run["state"] == "running":
        texts = [f"{each.get('step', '')} {each['text']}".strip() for each in events if each.get("text")]
        progress = texts[-1] if texts else ""
        steps = [{name: each.get(name) for name in ("step", "outcome", "text")} for each in steps]
        told.append(f"running: {progress}")
        module.exit_json(
            changed=False, ended=False, run=run["run"], code=0, progress=progress, steps=steps, told=told
        )
    code, out, output = module.run_command([*command(module), "attach", run["run"], "--json"])
    summary = last_event([each for line in out.split("\n") for each in parsed(line)], "summary")
    changed = summary.get("counts", {}).get("changed", 0) > 0
    told.append(run["state"])
    finish(module, code, output, changed=changed, ended=True, run=run["run"], told=told, **summary_values(summary))


def find_run(module):
    """Return the requested run as the wizard lists it."""
    code, out, output = module.run_command([*command(module), "runs", "--json"])
    if code:
        finish(module, code, output, changed=False, good=())
    runs = [each for line in out.split("\n") for each in parsed(line)]
    wanted = [each for each in runs if each["run"].endswith(module.params["run"])]
    if not wanted:
        module.fail_json(msg=f"run {module.params['run']} does not exist on this node")
    return wanted[-1]


def events_of(run):
    """Return the events of the run, without a line that is still being written."""
    try:
        with open(f"/var/lib/bai-wizard/runs/{run}/events.jsonl", encoding="utf-8", errors="replace") as stream:
            return [each for line in stream if line.endswith("\n") for each in parsed(line)]
    except OSError:
        return []


def detect(module):
    code, out, output = module.run_command([*command(module), "detect", "--json"])
    results = [each for line in out.split("\n") for each in parsed(line)]
    finish(module, code, output, changed=False, ansible_facts={"bai_wizard": results[-1]["pages"]} if results else {})


def undo(module):
    argv = [*command(module), "undo", "--json", *(["--plan"] if module.check_mode else [])]
    if module.params["allow_interrupts"]:
        argv.append(f"--yes-interrupt={','.join(module.params['allow_interrupts'])}")
    code, out, output = module.run_command([*argv, *([module.params["run"]] if module.params["run"] else [])])
    events = [each for line in out.split("\n") for each in parsed(line)]
    finish(module, code, output, changed=code == 0, run=run_id(events))


def headless(module, plan):
    """Return the exit code, the events and the messages."""
    argv = [*command(module), "--json", "--headless", "-", *choices(module)]
    argv += ["--plan", "--detailed-exitcode"] if plan else []
    code, out, output = module.run_command(argv, data=module.params["answers"], binary_data=True)
    return code, [each for line in out.split("\n") for each in parsed(line)], output


def command(module):
    return [module.params["program"]]


def choices(module):
    words = []
    for option, key in (("--only", "only"), ("--skip", "skip"), ("--yes-interrupt", "allow_interrupts")):
        if module.params[key]:
            words.append(f"{option}={','.join(module.params[key])}")
    if module.params["report"] and not module.check_mode:
        words += ["--report", module.params["report"]]
    return words


def parsed(line):
    """Return the event in a line, if any, with texts that are safe for Ansible's terminal."""
    try:
        value = json.loads(line)
    except ValueError:
        return []
    return [visible(value)] if isinstance(value, dict) else []


def visible(value):
    """Escape control, bidirectional and other invisible characters in texts, such as \\x1b and \\u202e."""
    if isinstance(value, str):
        return "".join(
            letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
            for letter in value
        )
    if isinstance(value, dict):
        return {visible(name): visible(item) for name, item in value.items()}
    if isinstance(value, list):
        return [visible(item) for item in value]
    return value


def last_event(events, kind):
    results = [event.get("data") or {} for event in events if event.get("kind") == kind]
    return results[-1] if results else {}


def run_id(events):
    return next((event["run"] for event in events if event.get("run")), "")


def summary_values(summary):
    return {
        "steps": [
            {name: step.get(name) for name in ("step", "outcome", "text")} for step in summary.get("steps", [])
        ],
        "reboot": summary.get("reboot", []),
        "next_login": summary.get("next_login", []),
    }


def diff_of(plan):
    """Return the changes of the plan in the format of Ansible's diffs. The wizard has masked secrets in them."""
    differences = []
    for item in plan.get("steps", []):
        for change in item.get("verdict", {}).get("changes", []):
            subject = f"{change['subject']}{' ' + change['attributes'] if change.get('attributes') else ''}"
            before, after = change.get("before"), change.get("after")
            if before is None and after is None:
                differences.append({"prepared": f"{change['verb']} {subject}\n"})
            else:
                differences.append(
                    {
                        "before": ended(before),
                        "after": ended(after),
                        "before_header": subject,
                        "after_header": subject,
                    }
                )
    return differences


def ended(text):
    return "" if text is None else text if text.endswith("\n") else text + "\n"


def diffed(module, events):
    return {"diff": diff_of(last_event(events, "plan"))} if module._diff else {}


def finish(module, code, output, changed, good=GOOD, diff=None, **values):
    """End the task. A failure is described by its failed steps, or else by the end of the wizard's output."""
    if diff is not None and module._diff:
        values["diff"] = diff
    if code in good:
        module.exit_json(changed=changed, code=code, **values)
    failed = [f"{step['step']}: {step['text']}" for step in values.get("steps", []) if step["outcome"] == "failed"]
    message = "; ".join(failed) or output.strip()[-MAX_OUTPUT:] or f"bai-wizard exited with code {code}"
    module.fail_json(msg=message, code=code, changed=changed, **values)


if __name__ == "__main__":
    main()
