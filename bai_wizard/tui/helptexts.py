"""One help text a screen, and the keys that hold everywhere."""

from __future__ import annotations

HELP = {
    "main": (
        "On the left are the pages with their state; on the right is the page that is open: what is there now, what "
        "you want, and what will change. Nothing is changed before you have seen it on the review screen and said "
        "yes. Begin with the node's roles and the Backend.AI release; then go down page by page, or jump."
    ),
    "review": (
        "This is everything that would be done, step by step. Untick what shall be left out; what depended on it is "
        "judged anew. Apply begins a run that goes on even if this terminal is lost."
    ),
    "run": (
        "The run works apart from this screen: you may go back to the pages, quit, or lose the connection. Come back "
        "with «bai-wizard» or «bai-wizard attach». Stopping means: after the step that it is at."
    ),
    "end": "How the run ended, and what can be done now. Everything it did is written down and can be taken back.",
    "runs": "Every run on this node. Each can be looked at; a cut one can be continued; any can be taken back.",
    "undo": (
        "What taking the run back would change. A file that somebody has edited since is shown and left alone. What "
        "cannot be taken back is listed."
    ),
    "again": "A further attempt of the same run: planned anew on the node as it is now.",
    "diff": "Lines with + are added, lines with - are removed. Nothing has been changed yet.",
    "doctor": "Checks change nothing. A remedy shows its diff like anything else, and can be undone.",
    "row": "One entry of the table. Nothing changes before «Take it»; Esc leaves it as it was.",
    "paste": "Paste or type as many lines as you like; Tab leaves the lines. Esc takes nothing.",
    "ask": "Enter takes the answer, Esc goes back.",
}
KEYS = (
    ("arrows, Tab", "walk through fields and lists"),
    ("Enter, Space", "choose, turn over, press"),
    ("Esc", "back; nothing that was typed is lost"),
    ("a", "apply the page that is open"),
    ("A", "review and apply everything"),
    ("d", "show the changes as a diff"),
    ("l", "show or hide the log"),
    ("s", "save the answers"),
    ("?", "this help"),
    ("q", "quit; a run goes on"),
    ("Ctrl+P", "every command by its name"),
)
