-- More of what files are.

-- Configurations of adapters, by what they call their base.
create table adapter (
  scan_id bigint not null,
  position integer not null, -- of the file in the scan
  base text not null, -- the name without organisation or folder: its words in lower case, as a kit's whole name in kit_word
  declared bytea not null, -- as it is written
  primary key (scan_id, position)
);
create index adapter_base on adapter (base, scan_id);

-- What is or was in a repository; the other index of it has only what still is.
create index occurrence_repository on occurrence (repository_id, opened_at);
