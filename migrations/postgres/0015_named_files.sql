-- What somebody named by a digest may be an archive inside of a layer, whose files are known: it is found by this, as those are.

alter table node add column sha256_head bigint; -- the first eight bytes of a SHA-256 as a number
update node set sha256_head = ('x' || encode(substr(key, 1, 8), 'hex'))::bit(64)::bigint
where kind = 0 and length(key) = 32 and not is_manifest;
create index node_named_file on node (is_manifest, sha256_head) where is_manifest = false and sha256_head is not null;

-- Promotions that were refused are told in the history of their tag.

create index audit_refused on audit (repository_id, tag, at, id) where action = 'tag.promote.refused';
