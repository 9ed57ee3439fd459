"""What must happen as one step on the Redis server. All keys of a store share one hash tag, so one node holds it.

A record begins with event time and creation time as little-endian int64; microseconds are exact in Lua's doubles.
"""

from __future__ import annotations

from typing import Final

NEWER: Final = """
local function newer(a, b) -- whether record a is newer than record b
  local ae, ac = struct.unpack('<i8i8', a)
  local be, bc = struct.unpack('<i8i8', b)
  return ae > be or (ae == be and ac > bc)
end
"""

# KEYS: current, building · ARGV: prefix, pointer, view name, view index, then customer and record by turns.
# Returns the number of rows written, or -1 where the pointer has moved.
PUSH: Final = (
    NEWER
    + """
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return -1 end
local number = string.match(ARGV[2], '^%d+')
local rows = ARGV[1] .. 'rows:' .. number .. ':' .. ARGV[4]
local building = redis.call('GET', KEYS[2])
local written = 0
for i = 5, #ARGV, 2 do
  local old = redis.call('HGET', rows, ARGV[i])
  if not (old and newer(old, ARGV[i + 1])) then
    redis.call('HSET', rows, ARGV[i], ARGV[i + 1])
    written = written + 1
    if building then redis.call('SADD', ARGV[1] .. 'journal:' .. building, ARGV[3] .. '\\0' .. ARGV[i]) end
  end
end
return written
"""
)

# KEYS: current, building · ARGV: prefix, pointer, number of view indices, indices, then customers.
REMOVE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return -1 end
local number = string.match(ARGV[2], '^%d+')
local building = redis.call('GET', KEYS[2])
local count = tonumber(ARGV[3])
local removed = 0
for i = 4 + count, #ARGV do
  for j = 4, 3 + count do
    removed = removed + redis.call('HDEL', ARGV[1] .. 'rows:' .. number .. ':' .. ARGV[j], ARGV[i])
  end
  redis.call('HDEL', ARGV[1] .. 'departed:' .. number, ARGV[i])
  if building then redis.call('SADD', ARGV[1] .. 'journal:' .. building, '\\0' .. ARGV[i]) end
end
return removed
"""

# KEYS: codes of a layout · ARGV: feature, then texts. Returns their codes; new texts get the next ones.
CODES: Final = """
local codes = {}
for i = 2, #ARGV do
  local field = ARGV[1] .. '\\0' .. ARGV[i]
  local code = redis.call('HGET', KEYS[1], field)
  if not code then
    code = redis.call('HINCRBY', KEYS[1], ARGV[1], 1) - 1
    redis.call('HSET', KEYS[1], field, code)
  end
  codes[#codes + 1] = tonumber(code)
end
return codes
"""

# KEYS: current, building · ARGV: prefix, pointer, number of the new generation, its pointer, its document, seconds of
# grace, then for each new view: name, old index (or ''), new index, digest.
# Settles what was pushed or removed meanwhile, flips the pointer, retires the old generation.
# Returns 1; 0 where another run has begun; -1 where the pointer has moved.
COMMIT: Final = (
    NEWER
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return -1 end
local prefix, last, number = ARGV[1], string.match(ARGV[2], '^%d+'), ARGV[3]
local journal = prefix .. 'journal:' .. number
for _, entry in ipairs(redis.call('SMEMBERS', journal)) do
  local cut = string.find(entry, '\\0', 1, true)
  local name, customer = string.sub(entry, 1, cut - 1), string.sub(entry, cut + 1)
  if name == '' then redis.call('HDEL', prefix .. 'departed:' .. number, customer) end
  for i = 7, #ARGV, 4 do
    if name == '' or name == ARGV[i] then
      local rows = prefix .. 'rows:' .. number .. ':' .. ARGV[i + 2]
      if name == '' then redis.call('HDEL', rows, customer) end
      local record = ARGV[i + 1] ~= '' and redis.call('HGET', prefix .. 'rows:' .. last .. ':' .. ARGV[i + 1], customer)
      if not record then
        redis.call('HDEL', rows, customer)
      elseif string.sub(record, 17, 24) == ARGV[i + 3] then
        local there = redis.call('HGET', rows, customer)
        if not (there and newer(there, record)) then redis.call('HSET', rows, customer, record) end
      end
    end
  end
end
redis.call('HSET', prefix .. 'documents', ARGV[4], ARGV[5])
redis.call('SET', KEYS[1], ARGV[4])
redis.call('DEL', KEYS[2], journal)
redis.call('ZADD', prefix .. 'retired', redis.call('TIME')[1] + tonumber(ARGV[6]), last)
return 1
"""
)
