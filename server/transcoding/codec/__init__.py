"""Messages from and to proto3 JSON. `message.Codecs` is the way in; faults are collected in `violation.Faults`."""
