#!/usr/bin/python
"""One node, by the headless command of the wizard that is installed there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node
short_description: Prepares a node for Backend.AI with bai-wizard
description:
  - Hands the answers to C(bai-wizard --headless -) over standard input; they stand in no argument and in no log.
  - In check mode it plans and changes nothing. With C(--diff) it shows what the wizard would change or has changed.
  - The run belongs to the node, not to the connection. A lost connection ends this task and not the run.
options:
  state:
    description:
      - V(prepared) applies the answers and waits; V(started) begins a run and comes back with its id at once.
      - V(watched) looks at the run O(run) and comes back with the steps that it has ended so far; see O(wait).
      - V(detected) only says what the node is, as the fact C(bai_wizard). V(undone) takes the run O(run) back.
    choices: [prepared, started, watched, detected, undone]
    default: prepared
    type: str
  answers:
    description: The answers, as TOML. Needed for V(prepared) and V(started).
    type: str
  only:
    description: Only these pages.
    type: list
    elements: str
    default: []
  skip:
    description: All but these pages.
    type: list
    elements: str
    default: []
  allow_interrupts:
    description: What may be interrupted (docker.restart, gpu.reload, umount).
    type: list
    elements: str
    default: []
  report:
    description: Where on the node the handover report is written, ending in .md or .json.
    type: path
  run:
    description: A run's id, for V(watched) and V(undone); empty means the newest.
    type: str
    default: ""
  wait:
    description: With V(watched), so many seconds at most until there are more ended steps than O(after).
    type: int
    default: 0
  after:
    description: With V(watched), how many ended steps are known already.
    type: int
    default: 0
  program:
    description: The wizard on the node.
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

- name: What the node is, as ansible_facts.bai_wizard
  bai.wizard.node:
    state: detected

- name: Begin a long run, then look at it every ten seconds
  bai.wizard.node:
    state: started
    answers: "{{ lookup('file', 'answers.toml') }}"
  register: begun
- bai.wizard.node:
    state: watched
    run: "{{ begun.run }}"
  register: seen
  until: seen.ended
  retries: 360
  delay: 10
  when: begun.run != ""
"""

RETURN = r"""
run: {description: The run's id; empty where nothing had to be done., returned: always, type: str}
code: {description: The wizard's exit code., returned: always, type: int}
steps: {description: Each step that has ended with its outcome., returned: after a run and for watched, type: list}
reboot: {description: Steps that wait for a reboot., returned: after a run, type: list}
next_login: {description: Steps in effect at the next login., returned: after a run, type: list}
ended: {description: Whether the run has ended., returned: for watched, type: bool}
progress: {description: The last thing that the run told., returned: while it goes on, type: str}
told: {description: The ended steps beyond O(after) and what goes on, in words., returned: for watched, type: list}
ansible_facts: {description: What the node is, by page, as bai_wizard., returned: for detected, type: dict}
"""

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

# The wizard's exit codes that are no failure of the task: done, a reboot is needed, only optional steps failed.
GOOD = (0, 5, 6)
CHANGES = 7
# More of the narration than this is of no use in a failure's message.
LAST_WORDS = 4000
# Seconds between two looks at a run.
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
        module.fail_json(msg=f"there is no {program} on this node; the role bai.wizard.install brings it")
    acts = {"prepared": prepare, "started": start, "watched": watch, "detected": detect, "undone": undo}
    acts[module.params["state"]](module)


def prepare(module):
    code, events, said = headless(module, plan=module.check_mode)
    plan = the_last(events, "plan")
    if module.check_mode:
        finish(module, code, said, changed=code == CHANGES, good=(0, 6, CHANGES), run="", diff=diff_of(plan))
    summary = the_last(events, "summary")
    finish(
        module,
        code,
        said,
        changed=summary.get("counts", {}).get("changed", 0) > 0,
        run=run_of(events),
        diff=diff_of(plan),
        **what_is_told(summary),
    )


def start(module):
    """Begins the run and leaves its watcher as soon as the run is known: the run is no child of this task."""
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
            if events and run_of(events):
                # Two interrupts: the first would stop the run, so the watcher is ended instead; nobody waits for it.
                child.kill()
                module.exit_json(changed=True, run=run_of(events), code=0, **diffed(module, events))
        said = child.stderr.read().decode(errors="replace")
        code = child.wait()
    summary = the_last(events, "summary")
    finish(module, code, said, changed=False, run="", diff=diff_of(the_last(events, "plan")), **what_is_told(summary))


def watch(module):
    """What the run has written so far; waits for more only where that is asked for."""
    end = time.monotonic() + module.params["wait"]
    while True:
        run = the_run(module)
        events = told_by(run["run"])
        steps = [each for each in events if each.get("kind") == "finished" and each.get("outcome")]
        if run["state"] != "running" or len(steps) > module.params["after"] or time.monotonic() >= end:
            break
        time.sleep(PAUSE)
    if run["state"] == "interrupted":
        message = f"the run was cut; continue it with: bai-wizard resume {run['run']}"
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
    code, out, said = module.run_command([*command(module), "attach", run["run"], "--json"])
    summary = the_last([each for line in out.splitlines() for each in parsed(line)], "summary")
    changed = summary.get("counts", {}).get("changed", 0) > 0
    told.append(run["state"])
    finish(module, code, said, changed=changed, ended=True, run=run["run"], told=told, **what_is_told(summary))


def the_run(module):
    """The run that is asked for, as the wizard lists it."""
    code, out, said = module.run_command([*command(module), "runs", "--json"])
    if code:
        finish(module, code, said, changed=False, good=())
    runs = [each for line in out.splitlines() for each in parsed(line)]
    wanted = [each for each in runs if each["run"].endswith(module.params["run"])]
    if not wanted:
        module.fail_json(msg=f"there is no run {module.params['run']} on this node")
    return wanted[-1]


def told_by(run):
    """The run's events; a line still being written is left out."""
    try:
        with open(f"/var/lib/bai-wizard/runs/{run}/events.jsonl", encoding="utf-8", errors="replace") as stream:
            return [each for line in stream if line.endswith("\n") for each in parsed(line)]
    except OSError:
        return []


def detect(module):
    code, out, said = module.run_command([*command(module), "detect", "--json"])
    found = [each for line in out.splitlines() for each in parsed(line)]
    finish(module, code, said, changed=False, ansible_facts={"bai_wizard": found[-1]["pages"]} if found else {})


def undo(module):
    argv = [*command(module), "undo", "--json", *(["--plan"] if module.check_mode else [])]
    if module.params["allow_interrupts"]:
        argv.append(f"--yes-interrupt={','.join(module.params['allow_interrupts'])}")
    code, out, said = module.run_command([*argv, *([module.params["run"]] if module.params["run"] else [])])
    events = [each for line in out.splitlines() for each in parsed(line)]
    finish(module, code, said, changed=code == 0, run=run_of(events))


def headless(module, plan):
    """The exit code, the events and the narration."""
    argv = [*command(module), "--json", "--headless", "-", *choices(module)]
    argv += ["--plan", "--detailed-exitcode"] if plan else []
    code, out, said = module.run_command(argv, data=module.params["answers"], binary_data=True)
    return code, [each for line in out.splitlines() for each in parsed(line)], said


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
    """The event of a line, or nothing where it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return []
    return [value] if isinstance(value, dict) else []


def the_last(events, kind):
    found = [event.get("data") or {} for event in events if event.get("kind") == kind]
    return found[-1] if found else {}


def run_of(events):
    return next((event["run"] for event in events if event.get("run")), "")


def what_is_told(summary):
    return {
        "steps": [
            {name: step.get(name) for name in ("step", "outcome", "text")} for step in summary.get("steps", [])
        ],
        "reboot": summary.get("reboot", []),
        "next_login": summary.get("next_login", []),
    }


def diff_of(plan):
    """What the wizard's plan changes, as Ansible shows differences. Secrets are masked in it by the wizard."""
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
    return {"diff": diff_of(the_last(events, "plan"))} if module._diff else {}


def finish(module, code, said, changed, good=GOOD, diff=None, **values):
    """Ends the task. A failure is named by its steps, else by the wizard's own last words."""
    if diff is not None and module._diff:
        values["diff"] = diff
    if code in good:
        module.exit_json(changed=changed, code=code, **values)
    failed = [f"{step['step']}: {step['text']}" for step in values.get("steps", []) if step["outcome"] == "failed"]
    message = "; ".join(failed) or said.strip()[-LAST_WORDS:] or f"bai-wizard ended with {code}"
    module.fail_json(msg=message, code=code, changed=changed, **values)


if __name__ == "__main__":
    main()
