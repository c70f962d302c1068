-- Who writes a read model outside this database. Its position alone is no fence: two writers that
-- both catch up with a table that lost rows would hold the same one.
ALTER TABLE projections.checkpoints ADD COLUMN owner text NOT NULL DEFAULT '';
