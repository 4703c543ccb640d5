"""Plans, runs, resumes and takes back. Knows no page and no screen: both come as arguments."""
