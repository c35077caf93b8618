"""How people are told: the outbox, its delivery, and one file a channel."""
