-- Digests that somebody named and that are no manifests here: of layers, files, or what is elsewhere. They are few beside the
-- others, and each may be a layer of what is asked about.

alter table node add column is_manifest boolean not null default false;
update node set is_manifest = true where id in (select id from manifest);
create index node_named on node (key) where kind = 0 and not is_manifest;

-- Claims whose statement says more than could be read of it.

alter table claim add column incomplete boolean not null default false;
create index claim_incomplete on claim (id) where incomplete;
