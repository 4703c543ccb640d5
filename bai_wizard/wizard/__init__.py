"""The wizard without a screen: the wish while it is edited, what is known of the node, the start of a run.

The full screen and the line prompts share all of this; neither decides anything on its own.
"""
