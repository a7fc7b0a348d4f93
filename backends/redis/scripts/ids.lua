-- Some of the ids of one partition, without their records.
-- KEYS: records    ARGV: cursor, how many about
return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2], 'NOVALUES')
