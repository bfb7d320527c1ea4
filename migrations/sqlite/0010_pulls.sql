-- Who pulled what, and who did what.

-- What one client pulled of one digest in a repository, again and again without a longer pause: the ranges of a blob are one
-- row. Deleted when it is older than the operator wants to know.
create table pull (
  id integer primary key, -- when it began, in microseconds, times 1024, and what tells apart those that began at once
  repository_id integer not null references repository (id),
  kind integer not null, -- 0 manifest, 1 blob
  digest blob not null,
  tag text, -- by which the manifest was asked for
  redirected boolean not null, -- to the store: whether the client went there is not known here
  actor text not null,
  address text, -- of the client, as far as the proxies before the registry may be believed
  agent blob not null, -- the beginning of its User-Agent
  last_at integer not null,
  pulls integer not null
);
create index pull_digest on pull (digest, kind, repository_id, id);
create index pull_repository on pull (repository_id, id);
create index pull_actor on pull (actor, id);

-- Records are asked for by what they are about and in the order of their moments.
drop index audit_repository;
create index audit_at on audit (at, id);
create index audit_repository on audit (repository_id, at, id);
create index audit_actor on audit (actor, at, id);
create index audit_action on audit (action, at, id);
create index audit_digest on audit (digest, at, id) where digest is not null;
