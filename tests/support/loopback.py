"""A server on loopback in a thread of its own: started when it is made, gone when it is closed."""

import asyncio
import threading


class Loopback:
    """`open` starts listening and returns the port and what closes it; a subclass has its own, or `WebLoopback`'s."""

    def __init__(self) -> None:
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        if not self.thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)
        assert not self.thread.is_alive()

    async def open(self):
        raise NotImplementedError

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda *_: None)  # connections that the client closes
        self.loop.run_until_complete(self._live())
        self.loop.close()

    async def _live(self) -> None:
        self.stop = asyncio.Event()
        self.port, shut = await self.open()
        self.ready.set()
        await self.stop.wait()
        await shut()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


class WebLoopback(Loopback):
    """Of an aiohttp application: `routes` gives `(method, path, handler)`."""

    def routes(self):
        raise NotImplementedError

    async def open(self):
        from aiohttp import web

        application = web.Application()
        for method, path, handler in self.routes():
            application.router.add_route(method, path, handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1], runner.cleanup
