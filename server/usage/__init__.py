"""What developers may know of their own numbers: what their keys were used for, and what they may do."""
