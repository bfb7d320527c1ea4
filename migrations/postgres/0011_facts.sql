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

-- The MD5s of files, where the operator wants them: by these DVC knows files.
create table file_md5 (
  scan_id bigint not null,
  position integer not null, -- as in layer_file
  md5_head bigint not null, -- the first eight bytes of the hash as a number
  md5_tail bigint not null, -- the other eight
  primary key (scan_id, position)
);
create index file_md5_content on file_md5 (md5_head, scan_id);
