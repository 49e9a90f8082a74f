-- Reads a room's log from a seq on: meta and entries at one instant. Called by common/store.py.
-- Writes nothing, but for the next epoch where Redis may have lost the log's tail (epoch.lua); a full one can't, and
-- then the log is read as it stands.
--
-- A stream is ordered by id, not by seq, but seqs have no holes: near the tail the distance to it says how many entries
-- to take from the end; further back the entry is found by bisecting over the ids' milliseconds.
--
-- KEYS  stream, meta
-- ARGV  seq to begin at (0: the last `count`), most entries to return, most bytes of bodies (0: any; one entry always)
-- returns {seq of the tail, epoch, epochs, first seq held, entries oldest first}

local stream, meta, from, count = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', meta, 'seq', 'epoch', 'run', 'epochs')
local tail, epoch, epochs = tonumber(state[1] or 0), state[2] or '0', state[4] or ''
if state[2] and state[3] ~= run then
  local opened, text = open_epoch(meta, state, redis.pcall)
  if opened then
    epoch, epochs = string.format('%.0f', opened), text
  end
end

local function seq_of(entry)
  return tonumber(entry[2][2])
end

local held = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
local first = held[1] and seq_of(held[1]) or tail + 1

if from == 0 then
  from = math.max(1, tail - count + 1)
end
from = math.max(from, first)

local entries = {}
if from <= tail and count > 0 then
  local wanted = tail - from + 1
  if wanted <= count * 2 then
    local newest_first = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', wanted)
    for i = #newest_first, math.max(1, #newest_first - count + 1), -1 do
      entries[#entries + 1] = newest_first[i]
    end
  else
    local low = tonumber(string.match(held[1][1], '^%d+'))
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
    local high = tonumber(string.match(newest[1][1], '^%d+'))
    -- Find the last millisecond whose first entry lies at or before `from`: that entry is where to begin.
    while low < high do
      local middle = math.floor((low + high + 1) / 2)
      local found = redis.call('XRANGE', stream, string.format('%.0f', middle), '+', 'COUNT', 1)
      if found[1] and seq_of(found[1]) <= from then
        low = middle
      else
        high = middle - 1
      end
    end
    local found = redis.call('XRANGE', stream, string.format('%.0f', low), '+', 'COUNT', 1)
    local skip = from - seq_of(found[1])
    local range = redis.call('XRANGE', stream, found[1][1], '+', 'COUNT', count + skip)
    for i = skip + 1, #range do
      entries[#entries + 1] = range[i]
    end
  end
end
local most_bytes, size = tonumber(ARGV[3]), 0
for i, entry in ipairs(entries) do
  size = size + #entry[2][6]
  if most_bytes > 0 and size > most_bytes and i > 1 then
    for j = #entries, i, -1 do
      entries[j] = nil
    end
    break
  end
end
return {tail, epoch, epochs, first, entries}
