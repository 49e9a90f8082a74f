-- Hop 3 of 9: append, the one place where a message enters a room; from common/append_script.py, to Redis's readers.
--
-- Atomic: the ref is looked up, each message gets its seq and goes to the room's stream, the list goes to the outbox
-- and out over PubSub. So what is published first was stored first, nothing is stored that the outbox lacks, and a
-- retry with the same ref changes nothing. The first write fails with OOM before anything is changed when Redis is full.
-- What only has to be done now and then, prolonging the keys' life and trimming by age, a room does once a second.
--
-- KEYS  stream, meta, nodes, outbox, ref
-- ARGV  channel, room, user id, user name, ref, ref's life in s, forward (1) or not (0),
--       most messages, greatest age in ms, room's life in s, user (JSON), then each message's content (JSON),
--       digest of the contents
-- returns {1 if the ref was known, 2 if it was known with other contents, else 0,
--          "<epoch> <first seq> <id> <id> ...", 1 unless PUBLISH was refused}
-- The ref's key keeps that text, `#` and the digest. Earlier versions wrote no digest; such a ref is not compared.

local stream, meta, nodes, outbox, ref = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local known = redis.call('GET', ref)
if known then
  local ack, digest = string.match(known, '^([^#]*)#?(.*)$')
  return {(digest == '' or digest == ARGV[#ARGV]) and 1 or 2, ack, 1}
end

local state = redis.call('HMGET', meta, 'seq', 'epoch', 'run', 'epochs', 'kept')
local seq, epoch = tonumber(state[1] or 0), tonumber(state[2] or 0)
if state[3] ~= run then
  epoch = open_epoch(meta, state, redis.call)
end

local first, ids, messages, forwards = seq + 1, {}, {}, {}
local epoch_text = string.format('%.0f', epoch)
local tail = ',"user":' .. ARGV[11] .. '}'
for i = 12, #ARGV - 1 do
  seq = seq + 1
  local seq_text = string.format('%.0f', seq)
  local body = '"content":' .. ARGV[i] .. tail
  local id = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[8], '*', 'seq', seq_text, 'epoch', epoch_text, 'body', body)
  local head = '{"id":"' .. id .. '","seq":' .. seq_text .. ',"timestamp":' .. string.match(id, '^%d+') .. ','
  ids[#ids + 1] = id
  messages[#messages + 1] = head .. body
  forwards[#forwards + 1] = head .. '"epoch":' .. epoch_text .. ',"content":' .. ARGV[i] .. '}'
end

local now, seq_text = tonumber(string.match(ids[1], '^%d+')), string.format('%.0f', seq)
if now - tonumber(state[5] or 0) < 1000 then
  redis.call('HSET', meta, 'seq', seq_text)
else
  redis.call('HSET', meta, 'seq', seq_text, 'kept', string.format('%.0f', now))
  if now > tonumber(ARGV[9]) then
    redis.call('XTRIM', stream, 'MINID', '~', string.format('%.0f', now - ARGV[9]))
  end
  for _, key in ipairs({stream, meta, nodes}) do
    redis.call('EXPIRE', key, ARGV[10] + 1)  -- lives on for the whole time after the last append of this second
  end
end

local first_text = string.format('%.0f', first)
local position = epoch_text .. ' ' .. first_text .. ' '
if ARGV[7] == '1' then
  redis.call('XADD', outbox, '*', 'room', ARGV[2], 'user', ARGV[3], 'name', ARGV[4], 'epoch', epoch_text,
    'first_seq', first_text, 'count', #ids, 'ref', ARGV[5], 'messages', table.concat(forwards, ','))
end
local ack = position .. table.concat(ids, ' ')
redis.call('SET', ref, ack .. '#' .. ARGV[#ARGV], 'EX', ARGV[6])
-- PubSub is a hint: where an ACL forbids it, the message still travels by the outbox, and no write is undone.
local published = redis.pcall('PUBLISH', ARGV[1], position .. #ids .. '\n' .. table.concat(messages, ','))
return {0, ack, type(published) == 'number' and 1 or 0}
