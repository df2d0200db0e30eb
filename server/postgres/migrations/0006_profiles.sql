-- What existing tables get for the portal. It locks them for a moment: no row is read or written.

-- Who a developer is, told once at registration. A developer without a name was registered by its first call alone.
ALTER TABLE developers
    ADD COLUMN display_name      text,
    ADD COLUMN contact_email     text,
    ADD COLUMN organisation      text,
    ADD COLUMN terms_version     text COLLATE "C",
    ADD COLUMN terms_accepted_at timestamptz;

-- Who made a change, when it was not the developer: an operator, or a report of a leak.
ALTER TABLE audit_events ADD COLUMN actor text COLLATE "C";
