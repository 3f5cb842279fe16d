/** What is chosen; `query` and `key` count the recording's tokens from 0, and are the first of a word or tile. */
export interface Chosen {
    item: number;
    kind: "encoder" | "decoder" | "cross";
    layer: number;
    head: number;
    query: number | null;
    key: number | null;
}
/** What the page says, one of the two at a time; `attlas` is the version of these messages. */
export type Said = {
    attlas: 1;
    height: number;
} | {
    attlas: 1;
    selection: Chosen;
};
declare const Base: typeof HTMLElement;
/**
 * Shows a page that attlas wrote. Attributes: `src`, the page's address; `view`, what follows the "#" in the address of a view
 * (`kind=cross&layer=2&head=4`); `label`, what assistive technology calls the frame.
 *
 * The element is as tall as the page; a `max-height` or `height` of your own makes it scroll. When something is chosen it fires
 * `attlas-selection`, whose `detail` is a {@link Chosen}.
 */
export declare class AttlasViewer extends Base {
    static readonly observedAttributes: string[];
    private frame;
    private chosen;
    /** What was asked for before the page was there to take it. */
    private wanted;
    private html;
    private due;
    /** The page as text, in place of `src`. It is then held to the policy of the page around, too. */
    get page(): string | null;
    set page(html: string | null);
    /** What is chosen; null before the page has said it. Set it, or a part of it, and the page shows that. */
    get selection(): Chosen | null;
    set selection(wanted: Partial<Chosen> | null);
    connectedCallback(): void;
    disconnectedCallback(): void;
    attributeChangedCallback(name: string): void;
    /** Shows what attributes say, once, however many of them changed. */
    private show;
    /** Makes the frame anew, so that nothing is added to the history of the page around. */
    private makeFrame;
    private label;
    private room;
    private hear;
}
declare global {
    interface HTMLElementTagNameMap {
        "attlas-viewer": AttlasViewer;
    }
}
export {};
