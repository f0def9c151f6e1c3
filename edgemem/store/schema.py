"""The journal's tables, as SQL. One constant per migration, in order; a released one never changes."""

SCHEMA_VERSION = 2
"""Kept in the database's `user_version`; a journal with a higher one is from a newer edgemem."""

FIRST_TABLES = """
CREATE TABLE chats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT
);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id INTEGER NOT NULL REFERENCES chats(id),
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    time TEXT NOT NULL,
    stats TEXT
);
CREATE INDEX turns_of_chat ON turns(chat_id);
CREATE TABLE revisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created TEXT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    operations TEXT NOT NULL,
    base_digest TEXT NOT NULL,
    result_digest TEXT NOT NULL,
    result_text TEXT,
    policy TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    prompt_digest TEXT NOT NULL,
    undoes INTEGER REFERENCES revisions(id),
    stats TEXT NOT NULL,
    rejected TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE lines (
    id INTEGER PRIMARY KEY,
    section TEXT NOT NULL,
    text TEXT NOT NULL,
    origin TEXT NOT NULL,
    sensitivity TEXT NOT NULL DEFAULT '',
    pinned INTEGER NOT NULL DEFAULT 0,
    removed INTEGER REFERENCES revisions(id)
);
CREATE TABLE sources (
    line_id INTEGER NOT NULL REFERENCES lines(id),
    turn_id INTEGER NOT NULL REFERENCES turns(id),
    PRIMARY KEY (line_id, turn_id)
) WITHOUT ROWID;
CREATE TABLE folded (
    turn_id INTEGER PRIMARY KEY REFERENCES turns(id),
    revision_id INTEGER NOT NULL REFERENCES revisions(id)
);
CREATE TABLE attempts (
    turn_id INTEGER PRIMARY KEY REFERENCES turns(id),
    tries INTEGER NOT NULL,
    error TEXT NOT NULL
);
"""

CONSENT_TABLES = """
CREATE TABLE pending (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision_id INTEGER NOT NULL REFERENCES revisions(id),
    created TEXT NOT NULL,
    operation TEXT NOT NULL,
    sensitivity TEXT NOT NULL,
    decided INTEGER REFERENCES revisions(id)
);
CREATE TABLE tombstones (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    created TEXT NOT NULL,
    digests TEXT NOT NULL
);
CREATE TABLE exports (
    path TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    form TEXT NOT NULL
);
CREATE TABLE imports (
    source TEXT PRIMARY KEY,
    chat_id INTEGER NOT NULL REFERENCES chats(id),
    created TEXT NOT NULL
);
"""
