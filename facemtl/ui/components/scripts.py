"""JavaScript of the Compare tab."""

# Makes screen readers announce each new answer. The live region must outlive the cards.
SPOKEN = """
const region = document.createElement('div');
region.id = 'spoken';
region.className = 'sr-only';
region.setAttribute('aria-live', 'polite');
element.after(region);
new MutationObserver(() => {
    const said = element.querySelector('[data-spoken]')?.dataset.spoken ?? '';
    if (region.textContent !== said) region.textContent = said;
}).observe(element, {childList: true, subtree: true});
"""
# Makes the chosen face's box movable, and resizable at its corner handle. The new crop is taken
# when the pointer is released.
DRAG = """
// The browser would drag a selected picture by itself.
element.addEventListener('dragstart', (event) => event.preventDefault());
element.addEventListener('pointerdown', (down) => {
    const box = down.target.closest('.box[aria-pressed="true"]');
    if (!box || down.button) return;
    const photo = box.parentElement.getBoundingClientRect();
    const shape = photo.height / photo.width,
    least = 16 / box.parentElement.querySelector('img').naturalWidth;
    // Shares of the photo's width, height, and width.
    const [left, top, side] = box.dataset.at.split(' ').map(Number);
    // From the screen's axes to the box's own.
    const turned = new DOMMatrix(getComputedStyle(box).transform).inverse();
    const resizes = down.target.classList.contains('handle');
    const before = box.style.cssText;
    const within = (value, low, high) => Math.min(Math.max(value, low), high);
    let at = null;
    const move = (event) => {
        const x = event.clientX - down.clientX, y = event.clientY - down.clientY;
        if (!at && Math.hypot(x, y) < 4) return;  // a click
        // The centre stays in the photo.
        const most = 2 * Math.min(Math.max(1, shape), 0.99 - left, (0.99 - top) * shape);
        const grown = Math.max(turned.a * x + turned.c * y, turned.b * x + turned.d * y);
        const size = resizes ? within(side + grown / photo.width, least, most) : side;
        const half = [size / 2, size / 2 / shape];
        at = resizes ? [left, top, size] : [
            within(left + x / photo.width, 0.01 - half[0], 0.99 - half[0]),
            within(top + y / photo.height, 0.01 - half[1], 0.99 - half[1]),
            size,
        ];
        box.classList.add('dragged');
        const shares = {left: at[0], top: at[1], width: size, height: size / shape};
        for (const [name, share] of Object.entries(shares)) box.style[name] = `${100 * share}%`;
    };
    const end = (event) => {
        box.removeEventListener('pointermove', move);
        box.classList.remove('dragged');
        if (!at) return;
        if (event.type === 'pointercancel') { box.style.cssText = before; return; }
        const swallow = (click) => { click.stopPropagation(); click.preventDefault(); };
        element.addEventListener('click', swallow, {capture: true, once: true});
        setTimeout(() => element.removeEventListener('click', swallow, {capture: true}), 0);
        trigger('click', {crop: at});
    };
    box.setPointerCapture(down.pointerId);
    box.addEventListener('pointermove', move);
    box.addEventListener('pointerup', end, {once: true});
    box.addEventListener('pointercancel', end, {once: true});
});
"""
