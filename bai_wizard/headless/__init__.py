"""The front ends without a screen: text, JSON lines, line prompts, reports."""
