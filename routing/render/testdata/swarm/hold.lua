-- Holds new connections while there is nowhere to send them, for at most as many seconds as the line
-- `setenv PGKEEPER_HOLD_SECONDS 30` before the one with lua-load says, instead of failing them (HAProxy 2.6 gives a script no
-- arguments). PostgreSQL's clients see a slow connect: give them a connect_timeout above that. haproxy.cfg says when it is
-- asked, and for how many connections at once.
--
-- With `setenv PGKEEPER_HOLD_CHECKED 1` the primary must have passed a check, too: where servers are found by DNS, one that has
-- just been found counts as UP until its first checks have failed. Not beside `pgkeeper route`, which is ahead of them.
local seconds = tonumber(os.getenv("PGKEEPER_HOLD_SECONDS")) or 30
local checked = os.getenv("PGKEEPER_HOLD_CHECKED") == "1"

-- A pause grows with what was waited already. HAProxy forgets a pause that is over before HAProxy has noted it, as one is
-- when the machine stalls for that long just then: such a connection would wait for the whole inspect-delay. Long pauses
-- leave no room for that, and cost little where much was waited; yielding first has HAProxy look at its clock. On a machine
-- that stalls, as the pauses of all connections tell by how late they end, they are ten times as long as it does.
local shortest, longest, share = 20, 100, 8 -- milliseconds, and of what was waited
local times, patience, memory = 10, 1000, 5000 -- of a stall, milliseconds at most, and for how long it counts
local stall, stalled = 0, core.now()

local function since(began)
    local now = core.now()
    return (now.sec - began.sec) * 1000 + (now.usec - began.usec) / 1000
end

local function hold(ready)
    return function(txn)
        local began = core.now()
        while not ready(txn) do
            local waited = since(began)
            if waited >= seconds * 1000 then
                break -- and fail as without
            end
            if not txn.req:may_recv() then
                return act.ABORT -- the client has gone
            end
            core.yield()
            local pause = math.floor(math.max(shortest, math.min(waited / share, longest), math.min(stall * times, patience)))
            local asleep = core.now()
            core.msleep(pause)
            local late = since(asleep) - pause
            if late >= stall or since(stalled) > memory then
                stall, stalled = late, core.now()
            end
        end
        return act.CONTINUE
    end
end

local function passed()
    for _, server in pairs(core.backends["primary"].servers) do
        local stats = server:get_stats()
        if stats.status and stats.status:find("^UP") then
            return stats.check_status ~= nil and stats.check_status:find("L7OK", 1, true) ~= nil
        end
    end
    return false
end

local function primary(txn)
    return txn.f:nbsrv("primary") == 1 and (not checked or passed())
end

-- Whether there is one, for rules that do not wait.
core.register_fetches("pgkeeper_primary", primary)

core.register_action("pgkeeper_hold_writes", { "tcp-req" }, hold(primary), 0)
core.register_action("pgkeeper_hold_reads", { "tcp-req" }, hold(function(txn)
    return txn.f:nbsrv("replicas") > 0 or primary(txn)
end), 0)
