-- Uploads to a bucket, and addresses of uploads that are signed.

-- How a bucket holds an upload, so that any server can continue it; null on disk.
alter table upload add column parts blob;

-- The keys that sign the addresses of uploads: the newest signs, those before it are still known for a while.
create table secret (
  id integer primary key autoincrement,
  key blob not null,
  created_at integer not null
);
