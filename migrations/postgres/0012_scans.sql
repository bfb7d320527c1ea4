-- Which layer a scan is of, where there are hundreds of thousands to be looked up: from the index alone.

drop index layer_scan;
create index layer_scan on layer (scan_id, id) where scan_id is not null;
