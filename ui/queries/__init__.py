"""What the pages ask: every query is here, none draws. Values are bound, never written into the SQL."""
