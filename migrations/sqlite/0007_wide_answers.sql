-- Answers of hundreds of thousands of manifests read these alone, and not the manifests' bytes and the kits' documents.

create index manifest_met on manifest (id, digest, first_at);
create index kit_model on kit (manifest_id, is_model);
