-- Rebuilding what is derived: scans that nobody waits for, and how far a rebuild has come.

-- 0 for a push, 1 asked for by the operator, 2 because a newer scanner would see more. Those before it are done first.
alter table job add column priority integer not null default 0;
drop index job_run;
create index job_run on job (kind, priority, run_at);
create index job_priority on job (priority) where priority = 1;

-- With the layer's id, so that a list of them is read a page at a time.
drop index layer_open;
create index layer_open on layer (state, id) where state <> 1;
drop index layer_scanner;
create index layer_scanner on layer (scanner, id);

-- A rebuild that is under way; one that was cut off goes on from here.
create table reindex (
  repository text collate "C" not null, -- empty: all of them
  failed boolean not null, -- only what is failed, partial or incomplete
  version text not null, -- what derives; another one begins anew
  after_manifest bigint not null,
  after_layer bigint not null,
  started_at bigint not null,
  primary key (repository, failed)
);
