-- Opens a room's next epoch, its log's next incarnation. Put in front of append.lua and of read.lua by common/scripts.py.
--
-- A Redis that is not the one that wrote last may have lost the log's tail: what comes now must not be taken for what
-- was lost. Whoever looks first opens the epoch, reader or writer, so that no position that is told runs backwards.

local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')

-- state is {seq, epoch, run, epochs} as meta has them; call is redis.call, or redis.pcall where it may fail.
-- Returns the epoch and the epochs, nil if it failed.
local function open_epoch(meta, state, call)
  local seq, epoch = tonumber(state[1] or 0), tonumber(state[2] or 0)
  local now = redis.call('TIME')
  epoch = math.max(epoch + 1, now[1] * 1000 + math.floor(now[2] / 1000))
  local epochs = {}
  for pair in string.gmatch(state[4] or '', '%S+') do
    epochs[#epochs + 1] = pair
  end
  epochs[#epochs + 1] = string.format('%.0f:%.0f', epoch, seq + 1)
  local text = table.concat(epochs, ' ', math.max(1, #epochs - 15))
  local done = call('HSET', meta, 'epoch', string.format('%.0f', epoch), 'run', run, 'epochs', text)
  if type(done) == 'number' then
    return epoch, text
  end
end
