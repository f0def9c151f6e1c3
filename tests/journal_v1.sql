-- A journal as schema 1 left it, with its memory.md in the last revision. Made by the code before schema 2.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'edgemem','first_tables','2026-11-25 02:46:08.260123+00:00');
CREATE TABLE attempts (
    turn_id INTEGER PRIMARY KEY REFERENCES turns(id),
    tries INTEGER NOT NULL,
    error TEXT NOT NULL
);
CREATE TABLE chats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT
);
INSERT INTO "chats" VALUES(1,'chat','2026-11-20T12:00:00.000000+00:00','2026-11-20T12:00:00.000000+00:00');
CREATE TABLE folded (
    turn_id INTEGER PRIMARY KEY REFERENCES turns(id),
    revision_id INTEGER NOT NULL REFERENCES revisions(id)
);
INSERT INTO "folded" VALUES(1,1);
CREATE TABLE lines (
    id INTEGER PRIMARY KEY,
    section TEXT NOT NULL,
    text TEXT NOT NULL,
    origin TEXT NOT NULL,
    sensitivity TEXT NOT NULL DEFAULT '',
    pinned INTEGER NOT NULL DEFAULT 0,
    removed INTEGER REFERENCES revisions(id)
);
INSERT INTO "lines" VALUES(1,'About','Lives in Bern','stated','',1,NULL);
INSERT INTO "lines" VALUES(2,'Health','Has asthma','stated','',0,NULL);
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
INSERT INTO "revisions" VALUES(1,'2026-11-20T12:00:00.000000+00:00','update','done','[{"kind":"add","line_id":1,"section":"About","text":"Lives in Bern","old_text":"","old_section":"","sources":[1],"origin":"stated","old_origin":null},{"kind":"add","line_id":2,"section":"Health","text":"Has asthma","old_text":"","old_section":"","sources":[1],"origin":"stated","old_origin":null}]','e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855','0e91e191f39256e040994053b0da9b4c620eb086f92c25071f4d8c534da62b49','---
edgemem: 1
user: ada
updated: 2026-11-20T12:00:00.000Z
---

## About
- Lives in Bern

## Health
- Has asthma
','','','',NULL,'{"prompt_tokens":0,"cached_tokens":0,"output_tokens":0,"drafted_tokens":0,"accepted_tokens":0,"first_token_s":0.0,"total_s":0.0,"stop_reason":""}','[]','');
CREATE TABLE sources (
    line_id INTEGER NOT NULL REFERENCES lines(id),
    turn_id INTEGER NOT NULL REFERENCES turns(id),
    PRIMARY KEY (line_id, turn_id)
) WITHOUT ROWID;
INSERT INTO "sources" VALUES(1,1);
INSERT INTO "sources" VALUES(2,1);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id INTEGER NOT NULL REFERENCES chats(id),
    role TEXT NOT NULL,
    text TEXT NOT NULL,
    time TEXT NOT NULL,
    stats TEXT
);
INSERT INTO "turns" VALUES(1,1,'user','I live in Bern and I have asthma','2026-11-20T12:00:00.000000+00:00',NULL);
INSERT INTO "turns" VALUES(2,1,'assistant','Noted.','2026-11-20T12:00:00.000000+00:00','{"prompt_tokens":0,"cached_tokens":0,"output_tokens":0,"drafted_tokens":0,"accepted_tokens":0,"first_token_s":0.0,"total_s":0.0,"stop_reason":""}');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX turns_of_chat ON turns(chat_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('chats',1);
INSERT INTO "sqlite_sequence" VALUES('turns',2);
INSERT INTO "sqlite_sequence" VALUES('revisions',1);
COMMIT;
PRAGMA user_version = 1;
