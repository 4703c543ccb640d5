"""What the doctor looks at in accelerators, one module a matter."""
