"""What operators do from a shell beside the database: look developers up, suspend them, set tiers, end leaked keys."""
