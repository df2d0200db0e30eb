-- Decides one call over all the windows it claims, as LocalLimiter does in service.py, by this server's clock.
--
-- KEYS: the windows. ARGV: the cost; 1 to count the call, 0 to look; then requests and seconds of each window.
-- Answers {allowed, tightest, remaining, reset, retry}: 1 or 0, a place in KEYS from 0, units, and two microseconds.
--
-- A window is packed as {first, last, units, last, units, ...}: when the newest group's first call came, then of each group,
-- oldest first, when its last call came and what it counts.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, counted = tonumber(ARGV[1]), ARGV[2] == '1'

-- Read a window without the groups whose time is over, with the sum of its units.
local function read(key, span)
  local packed = redis.call('GET', key)
  local groups = packed and cmsgpack.unpack(packed) or {now}
  local kept, used = {groups[1]}, 0
  -- Calls from farther in the future than the window is long tell that the clock was set back: they are forgiven.
  if #groups > 1 and groups[#groups - 1] <= now + span then
    for place = 2, #groups, 2 do
      if used > 0 or groups[place] > now - span then
        kept[#kept + 1] = groups[place]
        kept[#kept + 1] = groups[place + 1]
        used = used + groups[place + 1]
      end
    end
  end
  return kept, used
end

local windows = {}
local tightest, least, refusal = nil, 2, nil
for place, key in ipairs(KEYS) do
  local requests, span = tonumber(ARGV[2 * place + 1]), tonumber(ARGV[2 * place + 2]) * 1000000
  local groups, used = read(key, span)
  local joins = used > 0 and now - groups[1] < span / 64
  local oldest = groups[2] or now
  local left = requests - used - cost
  if left < 0 then
    local excess, last = -left, now
    for group = 2, #groups, 2 do
      if excess > 0 then
        last = groups[group]
        excess = excess - groups[group + 1]
      end
    end
    local retry = last + span - now
    if not refusal or retry > refusal[5] then
      refusal = {0, place - 1, math.max(0, requests - used), oldest + span - now, retry}
    end
  elseif left / requests < least then
    least = left / requests
    if #groups == 3 and joins and cost > 0 then
      oldest = math.max(now, oldest)
    end
    tightest = {1, place - 1, left, oldest + span - now, 0}
  end
  windows[place] = {key = key, groups = groups, joins = joins, span = span}
end

if refusal then
  return refusal
end
if counted and cost > 0 then
  for _, window in ipairs(windows) do
    local groups = window.groups
    if window.joins then
      groups[#groups - 1] = math.max(now, groups[#groups - 1])
      groups[#groups] = groups[#groups] + cost
    else
      groups[1] = now
      groups[#groups + 1] = now
      groups[#groups + 1] = cost
    end
    -- A millisecond more, because the server may let it go up to one early.
    redis.call('SET', window.key, cmsgpack.pack(groups), 'PX', string.format('%d', window.span / 1000 + 1))
  end
end
return tightest
