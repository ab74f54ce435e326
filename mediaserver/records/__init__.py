"""Records of calls: what every call was, in a database, for operators and for other programs.

`CallRecords` is what a server uses. What a call tells becomes an event (`events`), which a thread
writes to a journal on the local disk (`journal_writer`, `journal`). Another thread brings the
journal to the database (`shipping`, `batches`, `database`), and a third one tells a webhook of the
calls that are over (`deliveries`). `queries` reads the database for the command `calls`.
"""

from mediaserver.telemetry.logs import default_logs


default_logs()
