"""Facts as data, edited by people who know Backend.AI and no Python."""
